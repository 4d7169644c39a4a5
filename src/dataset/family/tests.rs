//! Families that wait for each other, and what becomes of a reduction in which one fails.

use super::*;
use crate::actor::Shutdown;
use crate::dataset::corpus::store_of;
use crate::model::Timestamp;
use crate::observe::Reducing;

/// Fails on its own thread.
struct Failing;

impl Family for Failing {
    type Value = u32;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<u32>, DatasetError> {
        making.spawn(|_| Err(DatasetError::EmptyStore))
    }
}

/// Cannot be started.
struct Unstartable;

impl Family for Unstartable {
    type Value = u32;

    fn start(_making: &mut Making<'_, '_>) -> Result<Promised<u32>, DatasetError> {
        Err(DatasetError::EmptyStore)
    }
}

/// Gives a number.
struct Seven;

impl Family for Seven {
    type Value = u32;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<u32>, DatasetError> {
        making.spawn(|_| Ok(7))
    }
}

/// Needs `F`'s number, and the end of the pass.
struct After<F>(std::marker::PhantomData<F>);

impl<F: Family<Value = u32>> Family for After<F> {
    type Value = u32;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<u32>, DatasetError> {
        let (number, pass_ended) = (making.value_of::<F>()?, making.pass_ended());
        making.spawn(move |_| {
            pass_ended.wait()?;
            Ok(number.wait()? + 1)
        })
    }
}

/// Makes with `start`, as for a single wanted artifact.
fn make(start: impl Fn(&mut Making<'_, '_>) -> Result<(), DatasetError>) -> Result<(), DatasetError> {
    let (_folder, store) = store_of(3);
    let config = Config::default();
    let (shutdown, reducing) = (Shutdown::new(), Reducing::default());
    let context = Context {
        store: &store,
        identity: &CrawlIdentity::create(&config, Timestamp::from_secs(0)),
        config: &config,
        commits: None,
        signatures: &Signatures::complete(&store).unwrap(),
        means: Means::of(&config, store.path(), &reducing, &shutdown),
        wanted: &[Artifact::SignatureGroups].into(),
        outputs: Mutex::default(),
    };
    Making::make(&context, |_, making| start(making))
}

#[test]
fn a_family_is_started_once_and_its_value_reaches_those_that_need_it() {
    make(|making| {
        let one = making.value_of::<After<Seven>>()?;
        let other = making.value_of::<After<After<Seven>>>()?;
        making.spawn(move |_| {
            assert_eq!((one.wait()?, other.wait()?), (&8, &9));
            Ok(())
        })?;
        assert_eq!(making.started.len(), 3);
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_cause_is_shown_not_those_that_waited_in_vain() {
    for _ in 0..10 {
        let ended = make(|making| making.value_of::<After<After<Failing>>>().map(drop));
        assert!(matches!(ended, Err(DatasetError::EmptyStore)), "{ended:?}");
        let ended = make(|making| {
            making.value_of::<After<Seven>>()?;
            making.value_of::<After<Unstartable>>().map(drop)
        });
        assert!(matches!(ended, Err(DatasetError::EmptyStore)), "{ended:?}");
    }
}
