//! Connections that are granted and wait for a server: none is given up without a word.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use tokio::sync::Notify;

use crate::connection::Target;
use crate::refusals::Refusals;

/// All of them, by a number of their own.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    next: Cell<u64>,
    waiting: RefCell<HashMap<u64, (Target, &'static str)>>,
    /// Given up and not told yet. One of a kind stands for all that are given up meanwhile, so that a storm of them takes no room.
    given_up: RefCell<BTreeMap<(String, u16, &'static str), Target>>,
    news: Notify,
}

impl Pending {
    /// Waits for an answer; who drops this gives it up.
    pub(crate) async fn answered<T>(
        &self,
        target: &Target,
        who: &'static str,
        answer: impl Future<Output = T>,
    ) -> T {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        self.waiting.borrow_mut().insert(number, (target.clone(), who));
        let waits = Waits { pending: self, number };
        let answer = answer.await;
        self.waiting.borrow_mut().remove(&waits.number);
        answer
    }

    /// What comes from that port is ended here: its client gives nothing up.
    pub(crate) fn forget(&self, source: u16) {
        self.waiting.borrow_mut().retain(|_, (target, _)| target.source != source);
    }

    /// Tells of those that are given up, whenever there are.
    pub(crate) async fn listen(&self, refusals: &Refusals) {
        loop {
            self.news.notified().await;
            self.tell(refusals).await;
        }
    }

    /// The task is gone: whoever waits waits for nobody.
    pub(crate) async fn last(&self, refusals: &Refusals) {
        let left = std::mem::take(&mut *self.waiting.borrow_mut());
        left.into_values().for_each(|(target, who)| self.give_up(target, who));
        self.tell(refusals).await;
    }

    fn give_up(&self, target: Target, who: &'static str) {
        self.given_up.borrow_mut().insert((target.host(), target.port, who), target);
        self.news.notify_one();
    }

    async fn tell(&self, refusals: &Refusals) {
        loop {
            let Some(((_, _, who), target)) = self.given_up.borrow_mut().pop_first() else { return };
            let why = format!("{who} had not answered when the client gave up");
            refusals.failed(&target, why).await;
        }
    }
}

/// Somebody waits as long as this is kept.
struct Waits<'a> {
    pending: &'a Pending,
    number: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let left = self.pending.waiting.borrow_mut().remove(&self.number);
        if let Some((target, who)) = left {
            self.pending.give_up(target, who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_up_is_told() {
        let pending = Pending::default();
        let target = |source| Target { name: None, address: [192, 0, 2, 1].into(), port: 22, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert_eq!(pending.answered(&target(1), "it", async { 7 }).await, 7);
            for source in [2, 3, 4] {
                let own = target(source);
                let waits = pending.answered(&own, "it", std::future::pending::<()>());
                let _ = tokio::time::timeout(std::time::Duration::ZERO, async {
                    tokio::join!(waits, async { (source == 4).then(|| pending.forget(4)) })
                })
                .await;
            }
        });
        assert!(pending.waiting.borrow().is_empty());
        let told: Vec<_> = pending.given_up.borrow().values().map(|target| target.source).collect();
        assert_eq!(told, [3]);
    }
}
