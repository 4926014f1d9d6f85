//! "Did you mean": the nearest known name to a misspelt one.

/// Names longer than this are not compared, which bounds the work on hostile input.
const MAX_COMPARED_CHARS: usize = 80;

/// Returns `; did you mean ...?` for the nearest of `known`, or an empty text if none is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |best| format!("; did you mean `{best}`?"))
}

fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name
        .chars()
        .take(MAX_COMPARED_CHARS + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if wanted.is_empty() || wanted.len() > MAX_COMPARED_CHARS {
        return None;
    }
    // A third of the letters may be wrong; more than that is another word.
    let limit = (wanted.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_COMPARED_CHARS)
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().map(|c| c.to_ascii_lowercase()).collect();
            (distance(&wanted, &letters), candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each cost one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(last.len());
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_slip_is_recognised() {
        assert_eq!(
            did_you_mean("amuont", ["amount", "user_id"]),
            "; did you mean `amount`?"
        );
        assert_eq!(
            did_you_mean("RESERVE", ["Reserve", "Cancel"]),
            "; did you mean `Reserve`?"
        );
    }

    #[test]
    fn another_word_is_not_suggested() {
        assert_eq!(did_you_mean("x", ["amount", "user_id"]), "");
        assert_eq!(did_you_mean("deadline", ["version"]), "");
        assert_eq!(did_you_mean("", ["a"]), "");
    }
}
