//! How often faults strike, and which one a call meets. Must not know: the wire, quotas, what an
//! answer looks like.

use serde::{Deserialize, Deserializer, de};

use super::draw::{Draw, join};
use super::fault::{FAULTS, Fault};

/// Why a description of faults was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// An entry is not of the form `NAME=RATE`.
    #[error("`{0}` is not of the form NAME=RATE, such as throttle=0.1")]
    Form(String),
    /// No fault has this name.
    #[error("no fault is named `{name}`; the faults are {known}")]
    Name {
        /// The unknown name.
        name: String,
        /// All names, for the reader.
        known: String,
    },
    /// A rate is not a number from 0 to 1.
    #[error("the rate of `{name}` is `{rate}`; it must be a number from 0 to 1")]
    Rate {
        /// The fault.
        name: String,
        /// What was written.
        rate: String,
    },
    /// A fault is named twice.
    #[error("`{0}` is named twice")]
    Twice(String),
    /// The rates add up to more than 1, and a call meets at most one fault.
    #[error("the rates add up to more than 1, and a call meets at most one fault")]
    Sum,
}

/// How often each fault strikes: a share of all calls, at most one fault a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    rates: Vec<(Fault, f64)>,
}

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One fault at a rate from 0 to 1 (rates outside are moved to the nearer end).
    #[must_use]
    pub fn one(fault: Fault, rate: f64) -> Self {
        Self { rates: vec![(fault, rate.clamp(0.0, 1.0))] }
    }

    fn summed(rates: Vec<(Fault, f64)>) -> Result<Self, FaultsError> {
        // A little above 1, because 0.1 added ten times is not exactly 1.
        if rates.iter().map(|(_, rate)| rate).sum::<f64>() > 1.000_001 {
            return Err(FaultsError::Sum);
        }
        Ok(Self { rates })
    }

    /// Whether no fault can strike.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.rates.iter().all(|(_, rate)| *rate <= 0.0)
    }

    /// The fault that this call meets, if any. The draw depends on the content and on the call's
    /// number, so that sending the same again can succeed.
    pub(crate) fn draw(&self, content: u64, seq: u64) -> Option<Fault> {
        if self.rates.is_empty() {
            return None;
        }
        let mut left = Draw::new(join(content, seq)).unit();
        for (fault, rate) in &self.rates {
            if left < *rate {
                return Some(*fault);
            }
            left -= rate;
        }
        None
    }
}

impl std::str::FromStr for Faults {
    type Err = FaultsError;

    /// Reads `throttle=0.1,hang=0.01`; an empty text means no faults.
    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut rates: Vec<(Fault, f64)> = Vec::new();
        let entries = text.split(',').map(str::trim).filter(|e| !e.is_empty());
        for entry in entries {
            let (name, rate) =
                entry.split_once('=').ok_or_else(|| FaultsError::Form(entry.to_owned()))?;
            let (name, rate) = (name.trim(), rate.trim());
            let fault = known(name)?;
            let wrong = || FaultsError::Rate { name: name.to_owned(), rate: rate.to_owned() };
            let rate = rate.parse().ok().filter(|rate| is_rate(*rate)).ok_or_else(wrong)?;
            if rates.iter().any(|(known, _)| *known == fault) {
                return Err(FaultsError::Twice(name.to_owned()));
            }
            rates.push((fault, rate));
        }
        Self::summed(rates)
    }
}

/// A table of names and rates, as scenario files and `POST /faults` hold it.
impl<'de> Deserialize<'de> for Faults {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> de::Visitor<'de> for Table {
            type Value = Faults;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table of faults and their rates, such as { throttle = 0.1 }")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Faults, A::Error> {
                let mut rates: Vec<(Fault, f64)> = Vec::new();
                while let Some(fault) = map.next_key::<Fault>()? {
                    let rate = map.next_value::<f64>()?;
                    let name = fault.to_string();
                    if !is_rate(rate) {
                        let rate = rate.to_string();
                        return Err(de::Error::custom(FaultsError::Rate { name, rate }));
                    }
                    if rates.iter().any(|(known, _)| *known == fault) {
                        return Err(de::Error::custom(FaultsError::Twice(name)));
                    }
                    rates.push((fault, rate));
                }
                // The order decides what a draw meets; a table has none of its own.
                rates.sort_by_key(|(fault, _)| FAULTS.iter().position(|known| known == fault));
                Faults::summed(rates).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_map(Table)
    }
}

fn known(name: &str) -> Result<Fault, FaultsError> {
    let unknown = || FaultsError::Name { name: name.to_owned(), known: Fault::names() };
    Fault::named(name).ok_or_else(unknown)
}

fn is_rate(rate: f64) -> bool {
    (0.0..=1.0).contains(&rate)
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.rates.is_empty() {
            return f.write_str("none");
        }
        for (position, (fault, rate)) in self.rates.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{fault}={rate}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<Faults>().unwrap_err().to_string()
    }

    #[test]
    fn a_description_reads_back_as_it_was_written() {
        let faults: Faults = "throttle=0.1, hang=0.01".parse().unwrap();
        assert_eq!(faults.to_string(), "throttle=0.1,hang=0.01");
        assert!(!faults.is_none());
        assert!("".parse::<Faults>().unwrap().is_none());
    }

    #[test]
    fn a_wrong_description_says_what_is_wrong() {
        assert!(error("throtle=0.1").contains("http_500, bad_gateway, http_503"));
        assert!(error("hang").contains("NAME=RATE"));
        assert!(error("hang=2").contains("from 0 to 1"));
        assert!(error("hang=NaN").contains("from 0 to 1"));
        assert!(error("hang=0.1,hang=0.2").contains("twice"));
        assert!(error("hang=0.6,empty=0.6").contains("more than 1"));
    }

    #[test]
    fn a_table_of_rates_is_read_in_the_order_of_the_documentation() {
        let faults: Faults = serde_json::from_str(r#"{"hang": 0.01, "throttle": 1e-1}"#).unwrap();
        assert_eq!(faults.to_string(), "throttle=0.1,hang=0.01");
        for (table, expected) in [
            (r#"{"hong": 0.1}"#, "no fault is named `hong`"),
            (r#"{"hang": 2}"#, "from 0 to 1"),
            (r#"{"hang": 0.6, "empty": 0.6}"#, "more than 1"),
            (r#"{"hang": 0.1, "hang": 0.1}"#, "twice"),
        ] {
            let error = serde_json::from_str::<Faults>(table).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn faults_strike_at_about_their_rates_and_a_repeat_can_pass() {
        let faults: Faults = "throttle=0.25,empty=0.25".parse().unwrap();
        let met: Vec<_> = (0..4_000).map(|seq| faults.draw(11, seq)).collect();
        for fault in [Some(Fault::Throttle), Some(Fault::Empty)] {
            let count = met.iter().filter(|one| **one == fault).count();
            assert!((900..1_100).contains(&count), "{fault:?}: {count}");
        }
        assert_eq!(met, (0..4_000).map(|seq| faults.draw(11, seq)).collect::<Vec<_>>());
    }

    #[test]
    fn a_rate_of_one_strikes_every_call() {
        let faults = Faults::one(Fault::Hang, 1.0);
        assert!((0..1_000).all(|seq| faults.draw(seq, seq) == Some(Fault::Hang)));
    }
}
