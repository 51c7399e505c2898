//! Turns a mistyped word into the one that was probably meant.

/// The candidate nearest to a word, if one is near enough to be meant: a third of its letters may
/// be wrong.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|name| (distance(&lower, name), name))
        .filter(|(distance, name)| distance * 3 <= name.len())
        .min()
        .map(|(_, name)| name)
}

/// How many letters to change, add, drop or swap with the next to make one word of the other.
fn distance(one: &str, two: &str) -> usize {
    let (one, two): (Vec<char>, Vec<char>) = (one.chars().collect(), two.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in two.iter().enumerate() {
            let mut best = (row[j] + 1)
                .min(last[j + 1] + 1)
                .min(last[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == two[j - 1] && one[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_two_letters_counts_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("instnaces", "instances"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn what_is_too_far_is_not_meant() {
        assert_eq!(nearest("gte", ["get", "apply"]), Some("get"));
        assert_eq!(nearest("frobnicate", ["get", "apply"]), None);
    }
}
