//! [`Page`]: how many entries a command may ask for at once.
//!
//! Not how many there is room for. A reply may be larger than Redis is willing to send: it then
//! ends the connection, and would do so each time. So a lane that ends with such a command
//! unanswered halves what the next one asks for, and each answer doubles it again.
//!
//! <https://redis.io/docs/latest/develop/reference/clients/#output-buffer-limits>

/// How many entries a command may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    limit: usize,
    max: usize,
}

impl Page {
    /// A page of at most `max` entries.
    pub(crate) const fn new(max: usize) -> Self {
        Self { limit: max, max }
    }

    /// Most entries to ask for now; at least 1.
    pub(crate) const fn limit(self) -> usize {
        self.limit
    }

    /// A command that asked for so many was answered.
    pub(crate) fn answered(&mut self) {
        self.limit = self.max.min(self.limit.saturating_mul(2));
    }

    /// A lane ended with a command unanswered that asked for so many.
    pub(crate) fn lost(&mut self, asked: usize) {
        self.limit = self.limit.min(asked.div_ceil(2)).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn what_gets_lost_is_asked_for_in_halves_down_to_one_and_grows_again_with_each_answer() {
        let mut page = Page::new(100);
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(page.limit());
            page.lost(page.limit());
        }
        assert_eq!(asked, [100, 50, 25, 13, 7, 4, 2, 1]);
        page.lost(1);
        assert_eq!(page.limit(), 1);
        for expected in [2, 4, 8] {
            page.answered();
            assert_eq!(page.limit(), expected);
        }
        for _ in 0..9 {
            page.answered();
        }
        assert_eq!(page.limit(), 100);
    }

    #[test]
    fn a_small_command_that_gets_lost_leaves_no_more_than_its_half() {
        let mut page = Page::new(100);
        page.lost(8);
        assert_eq!(page.limit(), 4);
    }
}
