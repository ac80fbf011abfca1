//! The summary that autopkgtest(1) writes: one line for each test.

use std::collections::BTreeMap;

use usine_model::artifact::{AutopkgtestResult, AutopkgtestStatus};

/// What became of each test, by its name.
pub(super) type TestResults = BTreeMap<String, AutopkgtestResult>;

/// Reads `NAME STATUS [details]` from each line. Lines such as `badpkg: rules failed` or `erroneous package: …` are about
/// the run and left out.
///
/// # Errors
/// If a line is neither.
pub(super) fn parse(text: &str) -> Result<TestResults, String> {
    let mut results = TestResults::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_remark(line)) {
        let (name, result) = test(line).ok_or_else(|| format!("Failed to parse line of the summary: {line}"))?;
        results.insert(name.to_owned(), result);
    }
    Ok(results)
}

/// Lower-case words, a colon, and whatever follows.
fn is_remark(line: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c == ' ';
    line.split_once(':').is_some_and(|(words, rest)| {
        !words.is_empty() && words.chars().all(is_word) && (rest.is_empty() || rest.starts_with(' '))
    })
}

fn test(line: &str) -> Option<(&str, AutopkgtestResult)> {
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let (status, details) = rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim_start(), ""));
    let status = match status {
        "PASS" => AutopkgtestStatus::Pass,
        "FAIL" => AutopkgtestStatus::Fail,
        "FLAKY" => AutopkgtestStatus::Flaky,
        "SKIP" => AutopkgtestStatus::Skip,
        _ => return None,
    };
    let details = Some(details.trim()).filter(|details| !details.is_empty()).map(str::to_owned);
    Some((name, AutopkgtestResult { status, details }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: AutopkgtestStatus, details: Option<&str>) -> AutopkgtestResult {
        AutopkgtestResult { status, details: details.map(str::to_owned) }
    }

    #[test]
    fn a_real_summary() {
        let results = parse(include_str!("../../tests/samples/autopkgtest.summary")).unwrap();
        let expected = [
            ("bad", of(AutopkgtestStatus::Fail, Some("non-zero exit status 1"))),
            ("flaky-one", of(AutopkgtestStatus::Flaky, Some("non-zero exit status 1"))),
            ("good", of(AutopkgtestStatus::Pass, Some("(superficial)"))),
            ("odd", of(AutopkgtestStatus::Skip, Some("unknown restriction unknown-thing"))),
        ];
        assert_eq!(results, TestResults::from(expected.map(|(name, result)| (name.to_owned(), result))));
    }

    #[test]
    fn tests_without_details_and_remarks_about_the_run() {
        let text = "command1             PASS\nblame: hello\nbadpkg: Test dependencies are unsatisfiable.\nblame:\n\n\
                    *                    SKIP no tests in this package\nerroneous package: rules build failed\n";
        let results = parse(text).unwrap();
        assert_eq!(results.len(), 2);
        assert_eq!(results["command1"], of(AutopkgtestStatus::Pass, None));
        assert_eq!(results["*"], of(AutopkgtestStatus::Skip, Some("no tests in this package")));
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_an_error_that_shows_the_line() {
        for line in ["command1 BROKEN", "command1 pass", "command1", "Bad words: x", "a:b"] {
            let error = parse(&format!("first PASS\n{line}\n")).unwrap_err();
            assert!(error.ends_with(&format!("of the summary: {line}")), "{error}");
        }
        assert_eq!(parse("name:x FAIL").unwrap()["name:x"].status, AutopkgtestStatus::Fail);
    }
}
