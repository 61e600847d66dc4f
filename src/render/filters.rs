//! Quoting, for templates. The values of a lock need none by their types; a template that quotes
//! all the same stays right when a type grows.

/// One word of a POSIX shell line: as it stands where that is safe, in single quotes otherwise.
pub(super) fn shell_quote(text: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&b);
    if !text.is_empty() && text.bytes().all(safe) {
        return text.to_owned();
    }
    // Control characters have no place in a line, quoted or not.
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", text.replace('\'', r"'\''"))
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
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(shell_quote("torch==2.9.1+cu126"), "torch==2.9.1+cu126");
        assert_eq!(shell_quote("a>=1, <2"), "'a>=1, <2'");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("it's $(id)\n"), r"'it'\''s $(id)'");
        assert_eq!(docker_quote("cuda>=12.0"), "\"cuda>=12.0\"");
        assert_eq!(docker_quote("a\"b\\c$d\ne"), "\"a\\\"b\\\\c\\$de\"");
    }
}
