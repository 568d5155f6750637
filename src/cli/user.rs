//! Who runs this process, for what is signed with a name.
//! Must not know: what it is signed on.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// The system's table of its users. One that is kept elsewhere (a directory service) is not asked.
const USERS: &str = "/etc/passwd";

/// The name in the environment; else, as under cron and in containers, that of the process's user,
/// and `uid N` where it has none.
pub(super) fn name(env: &BTreeMap<String, String>) -> String {
    let said = ["USER", "LOGNAME"].iter().find_map(|name| env.get(*name));
    let said = said.map(|name| name.trim()).filter(|name| !name.is_empty());
    said.map_or_else(
        || {
            let uid = rustix::process::geteuid().as_raw();
            let users = std::fs::read_to_string(USERS).context("read").unwrap_or_default();
            name_of(uid, &users).unwrap_or_else(|| format!("uid {uid}"))
        },
        str::to_owned,
    )
}

fn name_of(uid: u32, users: &str) -> Option<String> {
    let uid = uid.to_string();
    let line = users.lines().find(|line| line.split(':').nth(2) == Some(uid.as_str()))?;
    line.split(':').next().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_user_or_else_the_system_does() {
        let env = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(name(&env("USER", "ada")), "ada");
        assert_eq!(name(&env("LOGNAME", "grace")), "grace");
        let found = name(&env("USER", " "));
        assert!(!found.trim().is_empty() && found != "unknown", "{found}");
        let users = "root:x:0:0::/root:/bin/sh\nworker:x:1001:1001::/:/bin/false\n";
        assert_eq!(name_of(1001, users).as_deref(), Some("worker"));
        assert_eq!(name_of(7, users), None);
    }
}
