//! Markdown that people have written, as HTML that does no harm: HTML in it is shown as text, pictures are their descriptions, and links
//! lead to the web, to mail or to a page of ours.

use pulldown_cmark::{CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd, html};

/// The HTML. Its highest heading is `h3`: it stands below a heading of the page.
pub(crate) fn markdown(text: &str) -> String {
    let mut open_links = Vec::new();
    let mut in_picture = 0_usize;
    let events = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).filter_map(|event| {
        Some(match event {
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::Image { .. }) => {
                in_picture += 1;
                return None;
            }
            Event::End(TagEnd::Image) => {
                in_picture -= 1;
                return None;
            }
            Event::Start(Tag::Link { link_type, dest_url, .. }) => {
                let address = address(link_type, &dest_url).filter(|_| in_picture == 0);
                open_links.push(address.is_some());
                Event::InlineHtml(format!("<a href=\"{}\" rel=\"nofollow noopener\">", attribute(&address?)).into())
            }
            Event::End(TagEnd::Link) => {
                if !open_links.pop().unwrap_or_default() {
                    return None;
                }
                Event::InlineHtml(CowStr::Borrowed("</a>"))
            }
            // Identifiers would be those of the page's own elements.
            Event::Start(Tag::Heading { level, .. }) => {
                Event::Start(Tag::Heading { level: lower(level), id: None, classes: Vec::new(), attrs: Vec::new() })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
            // Alignment would be a style of the element, which the policy refuses.
            Event::Start(Tag::Table(columns)) => {
                Event::Start(Tag::Table(vec![pulldown_cmark::Alignment::None; columns.len()]))
            }
            other => other,
        })
    });
    let mut out = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut out, events);
    out
}

/// Where a link leads, if it may.
fn address(kind: LinkType, written: &str) -> Option<String> {
    if written.contains(|character: char| character.is_control() || character.is_whitespace() || character == '\\') {
        return None;
    }
    if kind == LinkType::Email {
        return Some(format!("mailto:{written}"));
    }
    let scheme_end = written.find([':', '/', '?', '#']);
    match scheme_end.map(|end| (&written[..end], &written[end..=end])) {
        Some((scheme, ":")) => {
            let known = ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known.then(|| written.to_owned())
        }
        // Another host, with this page's scheme.
        _ if written.starts_with("//") => None,
        _ => Some(written.to_owned()),
    }
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_shown() {
        let html =
            markdown("# Title\n\nSome *words* and `code`, ~~old~~.\n\n- one\n- two\n\n| a | b |\n|:-:|---|\n| 1 | 2 |");
        for part in
            ["<h3>Title</h3>", "<em>words</em>", "<code>code</code>", "<del>old</del>", "<li>two</li>", "<td>2</td>"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("style="), "{html}");
    }

    #[test]
    fn html_is_text() {
        for text in [
            "<script>alert(1)</script>",
            "before <img src=x onerror=alert(1)> after",
            "<div>\n\n*x*\n\n</div>",
            "a <b onclick=\"x\">b</b>",
            "<!-- <script> -->",
            "```<script>\n<script>\n```",
            "`<script>`",
            "# <script> {#main .x onclick=y}",
            "[<script>x](http://a/)",
            "[x]: http://a/ \"<script>\"\n\n[x]",
        ] {
            let html = markdown(text);
            assert!(
                !html.contains("<script") && !html.contains("<img") && !html.contains("<b ") && !html.contains("<div"),
                "{html}"
            );
        }
    }

    #[test]
    fn links_lead_nowhere_dangerous() {
        let good = [
            ("[x](https://example.org/?a=1&b=2)", "href=\"https://example.org/?a=1&amp;b=2\""),
            ("<https://example.org/>", "href=\"https://example.org/\""),
            ("<me@example.org>", "href=\"mailto:me@example.org\""),
            ("[x](MAILTO:me@example.org)", "href=\"MAILTO:me@example.org\""),
            ("[x](/debusine/System/)", "href=\"/debusine/System/\""),
            ("[x](work-request/)", "href=\"work-request/\""),
            ("[x](#y)", "href=\"#y\""),
            ("[x](<http://a/\"onclick=y>)", "href=\"http://a/&quot;onclick=y\""),
        ];
        for (text, part) in good {
            let html = markdown(text);
            assert!(html.contains(part) && html.contains("rel=\"nofollow noopener\""), "{text}: {html}");
        }
        for bad in [
            "javascript:alert(1)",
            "JaVaScript:alert(1)",
            "java&#9;script:alert(1)",
            "&#1;javascript:alert(1)",
            "javascript&colon;alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "//evil.example.org/",
            "/\\\\evil.example.org/",
            "<java\tscript:x>",
        ] {
            for text in [format!("[x]({bad})"), format!("[x][y]\n\n[y]: {bad}"), format!("![x]({bad})")] {
                let html = markdown(&text);
                assert!(!html.contains("href") && !html.contains("src"), "{text}: {html}");
            }
        }
        let nested = markdown("[![alt](http://a/x.png)](http://b/) ![a [link](http://c/) b](http://d/)");
        assert_eq!(nested.matches("<a ").count(), 1, "{nested}");
        assert!(nested.contains(">alt</a>"), "{nested}");
    }

    #[test]
    fn depth_and_length_do_no_harm() {
        for piece in ["> ", "- ", "[", "*a ", "![", "<a", "`", "| "] {
            markdown(&piece.repeat(20_000));
        }
    }
}
