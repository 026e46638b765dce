// SPDX-License-Identifier: MIT OR Apache-2.0
//! A subscriber of `tracing` that keeps the spans and events of the library, for one thread.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// The fields of a span or event, as text; an event's message is the field `message`.
pub(crate) type Fields = BTreeMap<&'static str, String>;

/// A span as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct SeenSpan {
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
    /// The span in which it began, by its place among all.
    pub(crate) parent: Option<usize>,
    /// What was said in it, and in no span within.
    pub(crate) events: Vec<(Level, Fields)>,
    /// How many hold it; none when it has ended.
    pub(crate) holders: usize,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<SeenSpan>,
    /// The spans that have been entered, the innermost last.
    entered: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Seen>>);

/// The spans that `act` made on this thread, in the order of their beginnings.
pub(crate) fn spans_of(act: impl FnOnce()) -> Vec<SeenSpan> {
    let recorder = Recorder::default();
    tracing::subscriber::with_default(recorder.clone(), act);
    let seen = recorder.seen();
    assert!(seen.entered.is_empty(), "every span was left");
    seen.spans.clone()
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nothing panics under the lock")
    }
}

/// Ids begin with 1, places with 0.
fn place(id: &Id) -> usize {
    id.into_u64() as usize - 1
}

#[derive(Default)]
struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hcall_vmm")
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Reader::default();
        attributes.record(&mut fields);
        let mut seen = self.seen();
        let parent = seen.entered.last().copied();
        seen.spans.push(SeenSpan {
            name: attributes.metadata().name(),
            level: *attributes.metadata().level(),
            fields: fields.0,
            parent,
            events: Vec::new(),
            holders: 1,
        });
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let mut fields = Reader::default();
        values.record(&mut fields);
        self.seen().spans[place(id)].fields.append(&mut fields.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Reader::default();
        event.record(&mut fields);
        let mut seen = self.seen();
        if let Some(innermost) = seen.entered.last().copied() {
            let level = *event.metadata().level();
            seen.spans[innermost].events.push((level, fields.0));
        }
    }

    fn enter(&self, id: &Id) {
        self.seen().entered.push(place(id));
    }

    fn exit(&self, id: &Id) {
        assert_eq!(self.seen().entered.pop(), Some(place(id)));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.seen().spans[place(id)].holders += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut seen = self.seen();
        let span = &mut seen.spans[place(&id)];
        span.holders -= 1;
        span.holders == 0
    }
}
