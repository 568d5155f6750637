//! The catalogue's rows: read, corrected, checked and found by name.
//! Must not know: where a correcting file lies, or which region asks.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Model;

/// The table that is built into the program.
const EMBEDDED: &str = include_str!("../../config/models.toml");

/// Where the figures come from: recorded beside every cost, because prices change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableHead {
    /// Which edition of the table this is.
    pub version: String,
    /// The day on which the figures were gathered.
    pub date: Date,
    /// Who published them.
    pub source: String,
}

/// Why a table of models was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// The text is not TOML, or not a table of models.
    #[error("read the table of models: {0}")]
    Syntax(String),
    /// One row has a wrong, missing or unknown field.
    #[error(
        "read the model {row:?}: {reason}; a new row needs alias, id, family, window, output_max and \
         burndown, a row that corrects a known id needs only what changes"
    )]
    Row {
        /// The row's id, or where it stands.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two rows answer to one name.
    #[error("name the model {id:?}: {name:?} is already {other:?}; choose another alias")]
    NameTaken {
        /// The name.
        name: String,
        /// The row that asks for it.
        id: String,
        /// The row that has it.
        other: String,
    },
}

/// Every known model.
#[derive(Debug, Clone)]
pub struct Catalogue {
    head: TableHead,
    models: Vec<Model>,
    /// Every alias and id, with the row's position.
    names: BTreeMap<String, usize>,
}

/// The form of a table of models.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    table: Option<TableHead>,
    #[serde(default)]
    model: Vec<toml::Table>,
}

impl Catalogue {
    /// The table that is built into the program.
    pub fn embedded() -> Result<Self, CatalogueError> {
        Self::from_toml(EMBEDDED)
    }

    /// A table of its own, with nothing built in.
    pub fn from_toml(text: &str) -> Result<Self, CatalogueError> {
        let nobody =
            TableHead { version: "none".to_owned(), date: Date::ZERO, source: String::new() };
        let mut catalogue = Self { head: nobody, models: Vec::new(), names: BTreeMap::new() };
        let file = read(text)?;
        let head = file.table.clone().ok_or_else(|| {
            CatalogueError::Syntax("`[table]` with version, date and source is missing".to_owned())
        })?;
        catalogue.merge_rows(file)?;
        catalogue.head = head;
        Ok(catalogue)
    }

    /// Corrects rows, found by `id` and field by field, and adds the others. Nothing changes if
    /// anything is wrong. Returns how many rows were corrected and added.
    pub fn merge(&mut self, text: &str) -> Result<usize, CatalogueError> {
        let file = read(text)?;
        // The version of every recorded cost must tell that these are not the built-in prices.
        let local = file.table.as_ref().map_or("local", |head| head.version.as_str());
        let version = format!("{}+{local}", self.head.version);

        let mut changed = self.clone();
        let rows = changed.merge_rows(file)?;
        changed.head.version = version;
        *self = changed;
        Ok(rows)
    }

    /// Where the figures come from.
    #[must_use]
    pub fn head(&self) -> &TableHead {
        &self.head
    }

    /// Every model, in the table's order.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// The model of this alias or base id.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.names.get(name).and_then(|position| self.models.get(*position))
    }

    /// Every alias and id.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    fn merge_rows(&mut self, file: TableFile) -> Result<usize, CatalogueError> {
        let count = file.model.len();
        for (position, row) in file.model.into_iter().enumerate() {
            let id = row.get("id").and_then(toml::Value::as_str).map(str::to_owned);
            let Some(id) = id else {
                let row = format!("number {}", position + 1);
                return Err(CatalogueError::Row { row, reason: "`id` is missing".to_owned() });
            };
            let refused = |reason: String| CatalogueError::Row { row: id.clone(), reason };

            let known = self.models.iter_mut().find(|model| model.id == id);
            let mut merged = match &known {
                Some(model) => toml::Table::try_from(model).map_err(|e| refused(e.to_string()))?,
                None => toml::Table::new(),
            };
            overlay(&mut merged, row);
            let model =
                Model::deserialize(merged).map_err(|error| refused(error.message().to_owned()))?;
            check(&model).map_err(refused)?;
            match known {
                Some(place) => *place = model,
                None => self.models.push(model),
            }
        }
        self.names = names_of(&self.models)?;
        Ok(count)
    }
}

fn read(text: &str) -> Result<TableFile, CatalogueError> {
    toml::from_str(text).map_err(|error| CatalogueError::Syntax(error.to_string()))
}

/// Lays the new fields over the old; inner tables field by field.
fn overlay(old: &mut toml::Table, new: toml::Table) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => overlay(inner, value),
            (_, value) => {
                old.insert(key, value);
            }
        }
    }
}

/// Figures that would make arithmetic meaningless later are refused here.
fn check(model: &Model) -> Result<(), String> {
    let output_max = model.output_max;
    if output_max == 0 || output_max > model.window {
        return Err(format!(
            "output_max is {output_max}, but must be 1 to the window's {}",
            model.window
        ));
    }
    if !(1..=100).contains(&model.burndown) {
        return Err(format!("burndown is {}, but must be 1 to 100", model.burndown));
    }
    if model.requires_profile && model.profiles.is_empty() {
        return Err("requires_profile is true, but `profiles` is empty".to_owned());
    }
    Ok(())
}

fn names_of(models: &[Model]) -> Result<BTreeMap<String, usize>, CatalogueError> {
    let mut names = BTreeMap::new();
    for (position, model) in models.iter().enumerate() {
        let own = [&model.alias, &model.id].into_iter().chain(&model.aliases);
        for name in own {
            if let Some(taken) = names.insert(name.clone(), position) {
                let other = models.get(taken).map(|model| model.id.clone()).unwrap_or_default();
                return Err(CatalogueError::NameTaken {
                    name: name.clone(),
                    id: model.id.clone(),
                    other,
                });
            }
        }
    }
    Ok(names)
}
