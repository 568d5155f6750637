//! What a check-up found, as data, as aligned text and as JSON.
//! Must not know: how anything is checked.

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::table::one_line;

/// The version of the JSON form.
const FORMAT_VERSION: u32 = 1;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Nothing is wrong, but it is worth knowing, or could not be looked at.
    Note,
    /// It works, and will cost time, money or sleep.
    Warning,
    /// Work fails or will fail because of it.
    Error,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// What was looked at: `store.disk`. Stable.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// What to change; always there where the level is not `ok`.
    pub(super) remedy: Option<String>,
}

/// Everything that was found, in the order in which it was looked at.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    /// The calls of `--live`, as JSON; absent without it.
    pub(super) calls: Option<Vec<Value>>,
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        let found = found.into();
        self.findings.push(Finding { check, level: Level::Ok, found, remedy: None });
    }

    pub(super) fn note(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Note, found, remedy);
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Warning, found, remedy);
    }

    pub(super) fn error(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Level::Error, found, remedy);
    }

    pub(super) fn add(
        &mut self,
        check: &'static str,
        level: Level,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (found, remedy) = (found.into(), Some(remedy.into()));
        self.findings.push(Finding { check, level, found, remedy });
    }

    /// Whether something is at work that makes work fail.
    pub(super) fn has_errors(&self) -> bool {
        self.count(Level::Error) > 0
    }

    fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// One line a finding, aligned, and one more with the remedy.
    pub(super) fn text(&self) -> String {
        let width = self.findings.iter().map(|one| one.check.len()).max().unwrap_or_default();
        let lines = self.findings.iter().map(|finding| {
            let Finding { check, level, found, remedy } = finding;
            let level = level.as_str();
            let remedy = remedy.as_ref().map_or_else(String::new, |remedy| {
                format!("{:7}  {:width$}  -> {}\n", "", "", one_line(remedy))
            });
            format!("{level:7}  {check:width$}  {}\n{remedy}", one_line(found))
        });
        lines.collect()
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        let counted = |level: Level, name: &str| {
            let count = self.count(level);
            format!("{count} {name}{}", if count == 1 { "" } else { "s" })
        };
        format!(
            "{}, {}, {}, {} ok.\n",
            counted(Level::Error, "error"),
            counted(Level::Warning, "warning"),
            counted(Level::Note, "note"),
            self.count(Level::Ok)
        )
    }

    /// The stable JSON form; `docs/doctor.md` describes it.
    pub(super) fn json(&self) -> Value {
        let mut all = json!({
            "format_version": FORMAT_VERSION,
            "ok": !self.has_errors(),
            "counts": {
                "ok": self.count(Level::Ok),
                "note": self.count(Level::Note),
                "warning": self.count(Level::Warning),
                "error": self.count(Level::Error),
            },
            "findings": self.findings,
        });
        if let (Some(calls), Some(object)) = (&self.calls, all.as_object_mut()) {
            object.insert("calls".to_owned(), Value::Array(calls.clone()));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn report() -> Report {
        let mut report = Report::default();
        report.ok("region", "eu-west-1, from the environment");
        report.warning("store.disk", "900 MB are free", "free some");
        report.error("credentials", "none\nwere found", "set them");
        report
    }

    #[test]
    fn each_finding_is_a_line_and_its_remedy_another() {
        expect![[r"
            ok       region       eu-west-1, from the environment
            warning  store.disk   900 MB are free
                                  -> free some
            error    credentials  none␊were found
                                  -> set them
        "]]
        .assert_eq(&report().text());
        assert_eq!(report().summary(), "1 error, 1 warning, 0 notes, 1 ok.\n");
    }

    #[test]
    fn the_json_form_is_stable() {
        expect![[r#"{"format_version":1,"ok":false,"counts":{"ok":1,"note":0,"warning":1,"error":1},"findings":[{"check":"region","level":"ok","found":"eu-west-1, from the environment","remedy":null},{"check":"store.disk","level":"warning","found":"900 MB are free","remedy":"free some"},{"check":"credentials","level":"error","found":"none\nwere found","remedy":"set them"}]}"#]]
        .assert_eq(&report().json().to_string());
    }
}
