//! Turns what is sent and what is recorded of it into an order that a crash cannot harm.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bb_vyos::{Ledger, RouterError};

use crate::stand::{lab, router};
use crate::tenant::made;

/// A record that can fail, and what was written to it.
#[derive(Default)]
struct Book {
    written: Mutex<Vec<bool>>,
    broken: AtomicBool,
}

impl Ledger for Book {
    fn record(&self, owed: bool) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            if self.broken.load(Ordering::SeqCst) {
                return Err("the API is away".to_owned());
            }
            self.written.lock().unwrap().push(owed);
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_save_is_recorded_as_owed_before_a_change_and_as_made_after_it() {
    let lab = lab().await;
    let book = Arc::new(Book::default());
    let client = router(&lab).keeping(book.clone(), false);
    assert!(!client.owes_save());
    client.configure(&made()).await.unwrap();
    client.configure(&made()).await.unwrap();
    assert!(client.owes_save());
    assert_eq!(*book.written.lock().unwrap(), [true], "once is enough");
    // Whoever comes next knows it from the record, and from nothing else.
    let next = router(&lab).keeping(book.clone(), true);
    assert!(next.owes_save());
    next.save().await.unwrap();
    assert!(!next.owes_save());
    assert_eq!(lab.saved(), lab.config());
    next.save().await.unwrap();
    assert_eq!(*book.written.lock().unwrap(), [true, false]);
}

#[tokio::test]
async fn nothing_is_sent_that_could_not_be_recorded() {
    let lab = lab().await;
    let book = Arc::new(Book::default());
    let client = router(&lab).keeping(book.clone(), false);
    let before = lab.config();
    book.broken.store(true, Ordering::SeqCst);
    let error = client.configure(&made()).await.unwrap_err();
    assert!(matches!(error, RouterError::Unrecorded { .. }), "{error}");
    assert!(!error.may_have_changed());
    assert_eq!(lab.config(), before);
    assert_eq!(client.requests().configures, 0);
    // A save that is not recorded is owed still: it is made again.
    book.broken.store(false, Ordering::SeqCst);
    client.configure(&made()).await.unwrap();
    book.broken.store(true, Ordering::SeqCst);
    client.save().await.unwrap();
    assert!(client.owes_save());
}
