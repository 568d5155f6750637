//! What to name instead of a model that the provider would not serve, as far as the catalogue knows.
//! Must not know: what the provider said, or what becomes of the call.

use jiff::civil::Date;

use super::resolve::{Ask, parse, split_profile};
use super::{Catalogue, Model, nearest};
use crate::error::ErrorKind;

impl Catalogue {
    /// The way out for a person after the provider refused this id with this kind: the successor, or
    /// the ids of its inference profiles, those of `profiles` (best first) before all others. None
    /// where the catalogue has nothing to say.
    #[must_use]
    pub fn advice(
        &self,
        model_id: &str,
        kind: ErrorKind,
        profiles: &[String],
        today: Date,
    ) -> Option<String> {
        let concerns = matches!(
            kind,
            ErrorKind::ModelNotFound | ErrorKind::ProfileNeeded | ErrorKind::AccessDenied
        );
        if !concerns {
            return None;
        }
        let id = parse(model_id).id;
        let base = split_profile(id).map_or(id, |(_, base)| base);
        let Some(model) = self.model(base) else { return self.of_unknown(base, kind) };
        match kind {
            ErrorKind::ProfileNeeded => through_profiles(model, profiles),
            // Access to what is retired is refused too, and no policy brings it back.
            ErrorKind::AccessDenied if !model.is_retired(today) => None,
            _ => Some(self.instead_of(model, profiles, (id, today))),
        }
    }

    fn of_unknown(&self, base: &str, kind: ErrorKind) -> Option<String> {
        match kind {
            ErrorKind::ProfileNeeded => Some(format!(
                "put an inference profile's prefix before the id, such as us.{base}, or name the \
                 profile's ARN"
            )),
            ErrorKind::ModelNotFound => {
                let near = nearest(base, self.names());
                (!near.is_empty()).then(|| format!("the catalogue knows {}", near.join(", ")))
            }
            _ => None,
        }
    }

    fn instead_of(&self, model: &Model, profiles: &[String], (id, today): (&str, Date)) -> String {
        let Some(successor) = self.successor_of(model, today) else {
            // As far as we know it lives: then it may be served elsewhere, but not through the
            // profiles of other continents.
            let nearby = wanted_ids(model, &[profiles, &["global".to_owned()]].concat());
            let others: Vec<String> = nearby.into_iter().filter(|nearby| nearby != id).collect();
            let ids = or(&others).map(|ids| format!("{ids}, or ")).unwrap_or_default();
            return format!(
                "the catalogue does not know it as retired: {ids}choose another region or model \
                 (`quarrier models`)"
            );
        };
        let retired = match model.end_of_life {
            Some(date) if model.is_retired(today) => format!("it was retired on {date}"),
            Some(date) => format!("its end of life is announced for {date}"),
            None => "it was retired".to_owned(),
        };
        let ask = Ask { profiles: profiles.to_vec(), family: None, allow_retired: false, today };
        let id = self.resolve(&successor, &ask).map(|found| format!(" ({})", found.model_id));
        format!("{retired}; use {successor}{}", id.unwrap_or_default())
    }
}

/// The ids that lead to this model through its profiles; those that are wanted, if it has any of
/// them.
fn through_profiles(model: &Model, profiles: &[String]) -> Option<String> {
    let ids = wanted_ids(model, profiles);
    let all = || wanted_ids(model, &model.profiles);
    or(&if ids.is_empty() { all() } else { ids })
}

fn wanted_ids(model: &Model, profiles: &[String]) -> Vec<String> {
    let wanted = profiles.iter().filter(|prefix| model.profiles.contains(prefix));
    wanted.map(|prefix| format!("{prefix}.{}", model.id)).collect()
}

fn or(ids: &[String]) -> Option<String> {
    (!ids.is_empty()).then(|| format!("use {}", ids.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A day on which some models are retired and others will be.
    const TODAY: Date = jiff::civil::date(2026, 10, 1);

    #[track_caller]
    fn check(id: &str, kind: ErrorKind, profiles: &[&str], expected: Option<&str>) {
        let catalogue = Catalogue::embedded().unwrap();
        let profiles: Vec<String> = profiles.iter().map(ToString::to_string).collect();
        assert_eq!(catalogue.advice(id, kind, &profiles, TODAY).as_deref(), expected, "{id}");
    }

    #[test]
    fn a_model_that_needs_a_profile_names_its_profiles_ids() {
        let kind = ErrorKind::ProfileNeeded;
        let haiku = "anthropic.claude-haiku-4-5-20251001-v1:0";
        check(haiku, kind, &["us"], Some("use us.anthropic.claude-haiku-4-5-20251001-v1:0"));
        check(
            "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
            kind,
            &["eu", "global"],
            Some(
                "use eu.anthropic.claude-haiku-4-5-20251001-v1:0 or \
                 global.anthropic.claude-haiku-4-5-20251001-v1:0",
            ),
        );
        let all = Catalogue::embedded().unwrap().model(haiku).unwrap().profiles.clone();
        let none_here =
            Catalogue::embedded().unwrap().advice(haiku, kind, &["mars".to_owned()], TODAY);
        assert_eq!(none_here.unwrap().matches(haiku).count(), all.len());
        check(
            "acme.new-model-v1:0",
            kind,
            &["us"],
            Some(
                "put an inference profile's prefix before the id, such as \
                 us.acme.new-model-v1:0, or name the profile's ARN",
            ),
        );
    }

    #[test]
    fn a_retired_model_names_its_successor_whichever_way_it_is_refused() {
        let catalogue = Catalogue::embedded().unwrap();
        let haiku3 = catalogue.model("claude-3-haiku").unwrap();
        let expected = "it was retired on 2026-09-10; use claude-haiku-4.5 \
                        (us.anthropic.claude-haiku-4-5-20251001-v1:0)";
        for kind in [ErrorKind::ModelNotFound, ErrorKind::AccessDenied] {
            check(&haiku3.id, kind, &["us"], Some(expected));
            check(&format!("us.{}", haiku3.id), kind, &["us"], Some(expected));
        }
    }

    #[test]
    fn a_model_that_lives_is_looked_for_elsewhere_and_access_to_it_is_for_its_policy() {
        let haiku = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
        check(haiku, ErrorKind::AccessDenied, &["us"], None);
        check(haiku, ErrorKind::InvalidRequest, &["us"], None);
        check(
            haiku,
            ErrorKind::ModelNotFound,
            &["us"],
            Some(
                "the catalogue does not know it as retired: use \
                 global.anthropic.claude-haiku-4-5-20251001-v1:0, or choose another region or \
                 model (`quarrier models`)",
            ),
        );
        check("zzz.unheard-of-v9", ErrorKind::ModelNotFound, &["us"], None);
    }
}
