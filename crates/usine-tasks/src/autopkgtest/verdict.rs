//! What an exit code of autopkgtest(1) and the results of its tests come to.

use usine_model::artifact::AutopkgtestStatus;
use usine_model::work_request::Results;

use super::data::FailOn;
use super::summary::TestResults;

/// The test bed broke (autopkgtest(1), EXIT STATUS).
const TESTBED_FAILURE: i32 = 16;

/// The exit codes that say something about the package: sums of 2 (a test was skipped, or a flaky one failed), 4 (a test
/// failed) and 8 (no test passed or failed, or there is something wrong with the package).
const ABOUT_THE_PACKAGE: [i32; 7] = [0, 2, 4, 6, 8, 12, 14];

/// The exit code, if it says something about the package; else why the run is only worth another try.
pub(super) fn about_the_package(code: Option<i32>) -> Result<i32, String> {
    match code {
        None => Err("autopkgtest was aborted".to_owned()),
        Some(TESTBED_FAILURE) => Err("Could not run tests due to a temporary testbed failure".to_owned()),
        Some(code) if ABOUT_THE_PACKAGE.contains(&code) => Ok(code),
        Some(code) => Err(format!("Unexpected autopkgtest exit code {code}")),
    }
}

/// What a run says about the package.
pub(super) fn verdict(code: i32, results: &TestResults, fail_on: FailOn) -> Results {
    let has = |status| results.values().any(|result| result.status == status);
    let only_skipped = results.values().all(|result| result.status == AutopkgtestStatus::Skip);
    let failed = (fail_on.failed_test && has(AutopkgtestStatus::Fail))
        || (fail_on.flaky_test && has(AutopkgtestStatus::Flaky))
        || (fail_on.skipped_test && has(AutopkgtestStatus::Skip));
    match code {
        _ if failed => Results::Failure,
        4 if !fail_on.failed_test => Results::Success,
        2 if fail_on.flaky_test => Results::Failure,
        8 if fail_on.skipped_test => Results::Failure,
        8 if only_skipped => Results::Skipped,
        0 | 2 | 8 => Results::Success,
        _ => Results::Failure,
    }
}

#[cfg(test)]
mod tests {
    use usine_model::artifact::AutopkgtestResult;

    use super::*;

    fn results(statuses: &[AutopkgtestStatus]) -> TestResults {
        let result = |status: &AutopkgtestStatus| AutopkgtestResult { status: *status, details: None };
        statuses.iter().enumerate().map(|(index, status)| (format!("test{index}"), result(status))).collect()
    }

    fn fail_on(failed_test: bool, flaky_test: bool, skipped_test: bool) -> FailOn {
        FailOn { failed_test, flaky_test, skipped_test }
    }

    /// Whatever is made a failure: nothing, each alone, all.
    const STRICTNESS: [(bool, bool, bool); 5] =
        [(false, false, false), (true, false, false), (false, true, false), (false, false, true), (true, true, true)];

    #[test]
    fn every_exit_code_with_every_strictness() {
        use AutopkgtestStatus::{Fail, Flaky, Pass, Skip};
        use Results::{Failure as F, Skipped as K, Success as S};
        // The results of the tests are those with which autopkgtest ends so; the columns are those of `STRICTNESS`.
        let table: [(i32, &[AutopkgtestStatus], [Results; 5]); 14] = [
            (0, &[Pass], [S, S, S, S, S]),
            (0, &[], [S, S, S, S, S]),
            (2, &[Pass, Skip], [S, S, F, F, F]),
            (2, &[Pass, Flaky], [S, S, F, S, F]),
            (4, &[Pass, Fail], [S, F, S, S, F]),
            (4, &[], [S, F, S, S, F]),
            (6, &[Fail, Skip], [F, F, F, F, F]),
            (6, &[Fail, Flaky], [F, F, F, F, F]),
            (8, &[Skip], [K, K, K, F, F]),
            (8, &[], [K, K, K, F, F]),
            (8, &[Skip, Flaky], [S, S, F, F, F]),
            (12, &[], [F, F, F, F, F]),
            (12, &[Pass], [F, F, F, F, F]),
            (14, &[Fail, Skip], [F, F, F, F, F]),
        ];
        for (code, statuses, expected) in table {
            for ((failed, flaky, skipped), expected) in STRICTNESS.into_iter().zip(expected) {
                let strictness = fail_on(failed, flaky, skipped);
                let seen = verdict(code, &results(statuses), strictness);
                assert_eq!(seen, expected, "exit code {code}, {statuses:?}, {strictness:?}");
                assert_eq!(about_the_package(Some(code)), Ok(code));
            }
        }
    }

    #[test]
    fn other_exit_codes_say_nothing_about_the_package() {
        assert_eq!(about_the_package(None).unwrap_err(), "autopkgtest was aborted");
        let testbed = "Could not run tests due to a temporary testbed failure";
        assert_eq!(about_the_package(Some(16)).unwrap_err(), testbed);
        for code in [1, 3, 5, 7, 9, 10, 11, 13, 15, 17, 20, 127, -9] {
            let expected = format!("Unexpected autopkgtest exit code {code}");
            assert_eq!(about_the_package(Some(code)), Err(expected));
        }
    }
}
