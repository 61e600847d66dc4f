//! Quoting, for templates. The values of a lock need none by their types; a template that quotes
//! all the same stays right when a type grows.

/// One word of a POSIX shell line: as it stands where that is safe, in single quotes otherwise.
pub fn shell_quote(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    if !text.is_empty() && text.bytes().all(safe) {
        return text.to_owned();
    }
    // Control characters have no place in a line, quoted or not.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A word of PowerShell: in single quotes, in which nothing is expanded.
pub(super) fn powershell_quote(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars().filter(|c| !c.is_control()) {
        // PowerShell ends a string at the typographic ones too.
        if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
    out
}

/// A value of `ENV` or `LABEL`: in double quotes, with no variable left to expand.
pub(super) fn docker_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What PowerShell reads in single quotes: pairs of quotes are one, and none is alone.
    fn read_back(word: &str) -> Option<String> {
        let is_quote =
            |c: char| matches!(c, '\'' | '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}');
        let mut inside = word.strip_prefix('\'')?.strip_suffix('\'')?.chars();
        let mut out = String::new();
        while let Some(c) = inside.next() {
            if is_quote(c) && !inside.next().is_some_and(is_quote) {
                return None;
            }
            out.push(c);
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn powershell_reads_what_was_meant(text in "(\\PC|['\u{2018}-\u{201b}$`\"\n;])*") {
            let word = powershell_quote(&text);
            let meant: String = text.chars().filter(|c| !c.is_control()).collect();
            prop_assert_eq!(read_back(&word), Some(meant), "{}", word);
        }
    }

    #[test]
    fn words_stay_words() {
        assert_eq!(shell_quote("torch==2.9.1+cu126"), "torch==2.9.1+cu126");
        assert_eq!(shell_quote("a>=1, <2"), "'a>=1, <2'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("it's $(id)\n"), r"'it'\''s $(id)'");
        assert_eq!(powershell_quote(""), "''");
        assert_eq!(powershell_quote("it's $(id)\n"), "'it''s $(id)'");
        assert_eq!(docker_quote("cuda>=12.0"), "\"cuda>=12.0\"");
        assert_eq!(docker_quote("a\"b\\c$d\ne"), "\"a\\\"b\\\\c\\$de\"");
    }
}
