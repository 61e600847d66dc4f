//! Text in XML and HTML.

use std::fmt::Write as _;

/// A text, or the value of an attribute, in which nothing is markup; what XML 1.0 has no room for is U+FFFD.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // As such they would become blanks in an attribute.
            '\n' | '\t' | '\r' => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_is_markup_and_nothing_is_no_xml() {
        let given = "a<b>&\"'\u{1b}[1m\u{0}\u{ffff}\n";
        assert_eq!(escaped(given), "a&lt;b&gt;&amp;&quot;&#39;\u{fffd}[1m\u{fffd}\u{fffd}&#10;");
    }
}
