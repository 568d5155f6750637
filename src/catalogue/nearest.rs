//! Which known names a mistyped one may have meant.
//! Must not know: what the names stand for.

/// The known names nearest to `name`, best first, at most three; none where all are far off.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    const SHOWN_MAX: usize = 3;
    const NAME_BYTES_MAX: usize = 100;
    // The comparison is quadratic, and names come from producers.
    if name.len() > NAME_BYTES_MAX {
        return Vec::new();
    }
    let name = name.to_lowercase();
    // Farther than a third of the name is another word, not a slip of the hand.
    let distance_max = (name.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(far, _)| *far <= distance_max)
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(SHOWN_MAX).map(|(_, candidate)| candidate).collect()
}

/// The number of characters to insert, delete or replace to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut next = vec![line + 1];
        let mut best = line + 1;
        for (right, pair) in to.iter().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let replaced = diagonal + usize::from(left != *right);
            best = replaced.min(above + 1).min(best + 1);
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_inserted_deleted_and_replaced_characters() {
        assert_eq!(distance("haiku", "haiku"), 0);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_slip_of_the_hand_finds_its_name_and_nonsense_finds_none() {
        let known = ["claude-haiku-4.5", "claude-sonnet-4.5", "nova-lite"];
        assert_eq!(nearest("claude-hiaku-4.5", known), ["claude-haiku-4.5"]);
        assert_eq!(nearest("Nova_Lite", known), ["nova-lite"]);
        assert!(nearest("gemini", known).is_empty());
    }
}
