//! Buffers that bodies are joined and decompressed into, kept for the next request.
//!
//! A decompressed body is about a megabyte; asking the allocator for it, and the kernel for its
//! pages, costs more than decompressing it. The pool keeps buffers up to a total size and forgets
//! the rest. A buffer is initialised memory with a filled length, so reuse zeroes nothing, and no
//! reader sees past what this request filled.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

/// What the pool holds on to at most: a few dozen ordinary bodies.
const KEPT_BYTES_MAX: usize = 32 << 20;
/// A larger buffer is given back to the allocator.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// A pool of buffers; cloning costs one counter.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    free: Arc<Mutex<Free>>,
}

#[derive(Debug, Default)]
struct Free {
    buffers: Vec<Vec<u8>>,
    n_bytes: usize,
}

impl Pool {
    /// Returns an empty buffer, a used one if there is one.
    pub fn take(&self) -> Buffer {
        let mut free = self.free.lock();
        let memory = free.buffers.pop().unwrap_or_default();
        free.n_bytes -= memory.len();
        Buffer { memory, n_filled: 0, pool: self.clone() }
    }

    fn give_back(&self, memory: Vec<u8>) {
        let mut free = self.free.lock();
        if memory.len() <= BUFFER_BYTES_MAX && free.n_bytes + memory.len() <= KEPT_BYTES_MAX {
            free.n_bytes += memory.len();
            free.buffers.push(memory);
        }
    }
}

/// Bytes in a buffer of the pool; it goes back when this is dropped.
#[derive(Debug)]
pub struct Buffer {
    /// All of it is initialised, also past `n_filled`.
    memory: Vec<u8>,
    n_filled: usize,
    pool: Pool,
}

impl Buffer {
    /// Returns `n_bytes` of room after what is filled. What is in there is of no meaning.
    pub fn room(&mut self, n_bytes: usize) -> &mut [u8] {
        let end = self.n_filled + n_bytes;
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        &mut self.memory[self.n_filled..end]
    }

    /// Says that `n_bytes` of the room are filled now.
    pub fn filled(&mut self, n_bytes: usize) {
        assert!(self.n_filled + n_bytes <= self.memory.len(), "only room that was asked for fills");
        self.n_filled += n_bytes;
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.filled(bytes.len());
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.n_filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_buffer_comes_back_empty() {
        let pool = Pool::default();
        let mut first = pool.take();
        first.extend(b"of another sender");
        let address = first.as_ptr();
        drop(first);

        let mut second = pool.take();
        second.extend(b"mine");

        assert_eq!(second.as_ptr(), address, "the memory is used again");
        assert_eq!(&*second, b"mine", "what was in it is not seen");
    }

    #[test]
    fn the_pool_does_not_hold_on_to_huge_buffers() {
        let pool = Pool::default();
        let mut huge = pool.take();
        huge.room(BUFFER_BYTES_MAX + 1);

        drop(huge);

        assert_eq!(pool.free.lock().n_bytes, 0);
    }

    #[test]
    fn the_pool_has_a_total_size() {
        let pool = Pool::default();
        let buffers: Vec<_> = (0..20)
            .map(|_| {
                let mut buffer = pool.take();
                buffer.room(BUFFER_BYTES_MAX);
                buffer
            })
            .collect();

        drop(buffers);

        assert_eq!(pool.free.lock().n_bytes, KEPT_BYTES_MAX);
    }
}
