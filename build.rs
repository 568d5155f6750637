//! Tells cargo which files the macros read behind its back, so that a change to one of them
//! compiles the crate again. Must not know: what is in them.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `migrate!` embeds the first; the SQL macros read the others. A path that does not exist would
    // count as changed at every build, so only what is there is named.
    for path in ["migrations", ".sqlx", "sqlx.toml"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}
