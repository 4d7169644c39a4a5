//! A clock that differs from the server's.

use perfharvest::Error;
use perfharvest::fetch::FetchError;
use perfharvest::store::Store;
use treeherder_sim::{Behaviour, SimulatorHandle};

use crate::faults::ends_as_undisturbed;
use crate::support::{Crawl, simulator};

pub(crate) async fn skewed(date_skew_secs: i64) -> SimulatorHandle {
    simulator(Behaviour { date_skew_secs, ..Behaviour::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_wrong_by_a_day_ends_the_run_before_anything_is_settled() {
    for skew in [-2 * 86_400, 400 * 86_400] {
        let simulator = skewed(skew).await;
        let crawl = Crawl::of(&simulator.url());
        let error = crawl.run().await.unwrap_err();
        assert!(matches!(error, Error::Fetch(FetchError::WrongClock { .. })), "{error}");
        assert!(error.to_string().contains("correct this machine's clock"), "{error}");
        assert_eq!(error.exit_code(), 2);
        let counts = Store::open_existing(&crawl.config.store).unwrap().counts().unwrap();
        assert_eq!((counts.settled(), counts.failed()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_of_hours_changes_nothing_and_is_warned_of_once() {
    let simulator = skewed(-7200).await;
    ends_as_undisturbed(&Crawl::of(&simulator.url())).await;

    let folder = tempfile::tempdir().unwrap();
    let run = crate::faults_shown::perfharvest("run", &simulator.url(), folder.path(), &[]).await;
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!((run.status.code(), said.matches("clock differs from the server's").count()), (Some(0), 1), "{said}");
}
