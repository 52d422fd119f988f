//! Words of messages.

use std::fmt::Display;

/// A number with what it counts: `1 case`, `2 cases`, `1 pass`, `0 passes`. `one` is the word for a single one, whose
/// plural ends in s or, after an s, in es.
pub fn counted(number: impl Display, one: &str) -> String {
    let number = number.to_string();
    let ending = match (number.as_str(), one.ends_with('s')) {
        ("1", _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {one}{ending}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn one_is_not_many() {
        let words = [counted(1, "case"), counted(0, "case"), counted(21, "voxel"), counted(1_u64, "pass"), counted(2, "pass")];
        assert_eq!(words, ["1 case", "0 cases", "21 voxels", "1 pass", "2 passes"]);
    }
}
