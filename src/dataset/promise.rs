//! A value that one thread computes and others wait for.

use std::sync::{Arc, OnceLock};

use super::error::DatasetError;

/// The waiting end; clones wait for the same value.
#[derive(Debug)]
pub(crate) struct Promised<T> {
    value: Arc<OnceLock<T>>,
    /// Closed when the [`Promise`] is dropped, with or without a value.
    ended: flume::Receiver<()>,
}

impl<T> Clone for Promised<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ended: self.ended.clone() }
    }
}

impl<T> Promised<T> {
    /// Waits for the value.
    ///
    /// # Errors
    /// [`DatasetError::Abandoned`] if the thread ended without it.
    pub(crate) fn wait(&self) -> Result<&T, DatasetError> {
        let _closed = self.ended.recv();
        self.value.get().ok_or(DatasetError::Abandoned)
    }

    /// The value itself, once its thread has ended and nobody else waits for it.
    ///
    /// # Errors
    /// [`DatasetError::Abandoned`] if there is none, or others hold it.
    pub(crate) fn into_value(self) -> Result<T, DatasetError> {
        Arc::into_inner(self.value).and_then(OnceLock::into_inner).ok_or(DatasetError::Abandoned)
    }
}

/// The end of the thread that computes the value.
pub(crate) struct Promise<T> {
    value: Arc<OnceLock<T>>,
    /// Never sends; closes the other end when it is dropped.
    _ended: flume::Sender<()>,
}

/// Both ends of a value to be computed.
pub(crate) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let value = Arc::new(OnceLock::new());
    let (sender, ended) = flume::bounded(1);
    (Promise { value: Arc::clone(&value), _ended: sender }, Promised { value, ended })
}

impl<T> Promise<T> {
    pub(crate) fn keep(self, value: T) {
        let _first = self.value.set(value);
    }
}
