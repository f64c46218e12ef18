//! A bounded queue that `loom` sees through, in the place of crossbeam's, which its authors have tested.

use loom::sync::Mutex;
use std::collections::VecDeque;

pub(crate) struct ArrayQueue<T> {
    items: Mutex<VecDeque<T>>,
    room: usize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(room: usize) -> Self {
        ArrayQueue { items: Mutex::new(VecDeque::new()), room }
    }

    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items.lock().expect("nobody panics");
        if items.len() == self.room {
            return Err(item);
        }
        items.push_back(item);
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.items.lock().expect("nobody panics").pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.lock().expect("nobody panics").len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
