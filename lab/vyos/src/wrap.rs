//! Turns a message into lines of at most 72 columns, broken as the real scripts break them.

const WIDTH: usize = 72;

/// Wraps `text` at 72 columns, at blanks and after hyphens inside words.
#[must_use]
pub(crate) fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        for (index, piece) in pieces(word).into_iter().enumerate() {
            let gap = usize::from(index == 0 && !line.is_empty());
            if !line.is_empty() && line.chars().count() + gap + piece.chars().count() > WIDTH {
                lines.push(std::mem::take(&mut line));
            } else if gap == 1 {
                line.push(' ');
            }
            line.push_str(&piece);
        }
    }
    lines.push(line);
    lines.join("\n")
}

/// A word cut after each hyphen that stands between letters.
fn pieces(word: &str) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    let letter = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .is_some_and(|c| c.is_alphabetic() || *c == '_')
    };
    let mut pieces = vec![String::new()];
    for (at, c) in chars.iter().enumerate() {
        if let Some(piece) = pieces.last_mut() {
            piece.push(*c);
        }
        let before = letter(at.checked_sub(1)) && letter(at.checked_sub(2));
        if *c == '-' && before && letter(Some(at + 1)) && letter(Some(at + 2)) {
            pieces.push(String::new());
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks_and_hyphens_as_recorded() {
        assert_eq!(
            wrap(
                "No DHCP address range or active static-mapping configured within \
                 shared-network \"t-acme-web, 10.10.0.0/24\"!"
            ),
            "No DHCP address range or active static-mapping configured within shared-\n\
             network \"t-acme-web, 10.10.0.0/24\"!"
        );
        assert_eq!(
            wrap(
                "Interface \"vxlan10010\" cannot be deleted as it is a member of bridge \"br10010\"!"
            ),
            "Interface \"vxlan10010\" cannot be deleted as it is a member of bridge\n\"br10010\"!"
        );
    }
}
