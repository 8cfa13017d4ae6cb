//! Executables by the structure of their graphs, bounded by the bytes that they hold; the least recently used goes first.

use crate::buffer::memory_limit;
use crate::primitive::Op;
use covector_runtime::executable::Executable;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Bytes of all plans: room for a graph of three million operations, the gradient of a million, which takes 110 to 140 bytes
/// for each. On small machines it is an eighth of the memory limit.
const MAX_BYTES: usize = 1 << 29;

/// A plan with its key.
pub(crate) struct Cached {
    pub(crate) key: Box<[u64]>,
    pub(crate) plan: Arc<Executable>,
    /// Identities in the key; see [`forget`].
    pub(crate) identities: Vec<usize>,
    /// The operations that have them. They live as long as the key does, so that no other operation gets their addresses.
    pub(crate) holders: Vec<Op>,
}

impl Cached {
    fn bytes(&self) -> usize {
        let lists = self.identities.len() * size_of::<usize>() + self.holders.len() * size_of::<Op>();
        size_of::<Self>() + self.key.len() * size_of::<u64>() + lists + self.plan.bytes()
    }
}

struct Entry {
    cached: Cached,
    bytes: usize,
    /// When it was used last.
    used: u64,
}

/// Plans by the hash of their keys. Of two keys with one hash, the newer is remembered.
#[derive(Default)]
pub(crate) struct Cache {
    plans: FxHashMap<u64, Entry>,
    /// Hashes in the order of their uses. Of several uses of a plan, only the last counts.
    uses: VecDeque<(u64, u64)>,
    now: u64,
    bytes: usize,
    /// The hashes of the plans that hold an identity.
    holding: FxHashMap<usize, Vec<u64>>,
    /// Identities that no new plan may hold.
    forgotten: FxHashSet<usize>,
}

impl Cache {
    /// The plan for a key. It counts as used.
    pub(crate) fn find(&mut self, hash: u64, key: &[u64]) -> Option<Arc<Executable>> {
        let entry = self.plans.get_mut(&hash).filter(|entry| entry.cached.key[..] == *key)?;
        self.now += 1;
        entry.used = self.now;
        let plan = entry.cached.plan.clone();
        self.note_use(hash);
        Some(plan)
    }

    fn note_use(&mut self, hash: u64) {
        match self.uses.back_mut() {
            Some(last) if last.0 == hash => last.1 = self.now,
            _ => self.uses.push_back((hash, self.now)),
        }
        // Compacting the list takes as many steps as uses were noted since.
        if self.uses.len() > 2 * self.plans.len() + 64 {
            let plans = &self.plans;
            self.uses.retain(|(hash, used)| plans.get(hash).is_some_and(|entry| entry.used == *used));
        }
    }

    /// Remembers a plan, and returns those that have to go for it, to be dropped without the lock: an operation may hold
    /// graphs, and dropping these may come back here.
    pub(crate) fn keep(&mut self, hash: u64, cached: Cached, limit: usize) -> Vec<Cached> {
        let bytes = cached.bytes();
        if bytes > limit || cached.identities.iter().any(|id| self.forgotten.contains(id)) {
            return vec![cached];
        }
        let mut gone: Vec<Cached> = self.remove(hash).into_iter().collect();
        while self.bytes + bytes > limit {
            let Some((oldest, used)) = self.uses.pop_front() else { break };
            if self.plans.get(&oldest).is_some_and(|entry| entry.used == used) {
                gone.extend(self.remove(oldest));
            }
        }
        for &identity in &cached.identities {
            self.holding.entry(identity).or_default().push(hash);
        }
        self.now += 1;
        self.bytes += bytes;
        self.plans.insert(hash, Entry { cached, bytes, used: self.now });
        self.note_use(hash);
        gone
    }

    fn remove(&mut self, hash: u64) -> Option<Cached> {
        let Entry { cached, bytes, .. } = self.plans.remove(&hash)?;
        self.bytes -= bytes;
        for identity in &cached.identities {
            if let Some(hashes) = self.holding.get_mut(identity) {
                hashes.retain(|&h| h != hash);
                if hashes.is_empty() {
                    self.holding.remove(identity);
                }
            }
        }
        Some(cached)
    }

    fn forget(&mut self, identity: usize) -> Vec<Cached> {
        self.forgotten.insert(identity);
        let hashes = self.holding.get(&identity).cloned().unwrap_or_default();
        hashes.into_iter().filter_map(|hash| self.remove(hash)).collect()
    }
}

static CACHE: Mutex<Option<Cache>> = Mutex::new(None);

fn with<R>(run: impl FnOnce(&mut Cache) -> R) -> R {
    let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
    run(cache.get_or_insert_default())
}

/// The plan for a key.
pub(crate) fn find(hash: u64, key: &[u64]) -> Option<Arc<Executable>> {
    with(|cache| cache.find(hash, key))
}

/// Remembers a plan.
pub(crate) fn keep(hash: u64, cached: Cached) {
    let gone = with(|cache| cache.keep(hash, cached, MAX_BYTES.min(memory_limit() / 8)));
    drop(gone);
}

/// Drops the plans that hold an operation of this identity, and keeps no more of them, until [`forgotten`].
pub(crate) fn forget(identity: usize) {
    let gone = with(|cache| cache.forget(identity));
    drop(gone);
}

/// Notes that the identity is free: another object may get it.
pub(crate) fn forgotten(identity: usize) {
    with(|cache| cache.forgotten.remove(&identity));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(words: usize, identities: &[usize]) -> Cached {
        let plan = Executable::default();
        let (identities, holders) = (identities.to_vec(), Vec::new());
        Cached { key: vec![0; words].into(), plan: Arc::new(plan), identities, holders }
    }

    fn hashes(cache: &Cache) -> Vec<u64> {
        let mut hashes: Vec<u64> = cache.plans.keys().copied().collect();
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn the_plan_unused_for_longest_goes_first_and_bytes_stay_below_the_limit() {
        let mut cache = Cache::default();
        let each = cached(100, &[]).bytes();
        for hash in 0..4 {
            assert!(cache.keep(hash, cached(100, &[]), 4 * each).is_empty());
        }
        let key = vec![0; 100];
        assert!(cache.find(0, &key).is_some() && cache.find(2, &key).is_some());
        assert_eq!(cache.keep(7, cached(100, &[]), 4 * each).len(), 1);
        assert_eq!(hashes(&cache), [0, 2, 3, 7]);
        assert_eq!(cache.keep(8, cached(100, &[]), 4 * each).len(), 1);
        assert_eq!(hashes(&cache), [0, 2, 7, 8]);
        // One that takes the place of several, and one that is too large for any.
        assert_eq!(cache.keep(9, cached(200, &[]), 4 * each).len(), 2);
        assert_eq!(hashes(&cache), [7, 8, 9]);
        assert_eq!(cache.keep(10, cached(1000, &[]), 4 * each).len(), 1);
        assert_eq!(hashes(&cache), [7, 8, 9]);
        assert!(cache.bytes <= 4 * each);
        assert!(cache.find(9, &key).is_none(), "another key of the same hash");
    }

    #[test]
    fn the_list_of_uses_stays_as_short_as_the_cache() {
        let mut cache = Cache::default();
        for hash in 0..3 {
            cache.keep(hash, cached(1, &[]), usize::MAX);
        }
        for k in 0..10_000 {
            assert!(cache.find(k % 3, &[0]).is_some());
        }
        assert!(cache.uses.len() <= 2 * 3 + 64);
        cache.keep(3, cached(1, &[]), cache.bytes);
        assert_eq!(hashes(&cache), [0, 2, 3]);
    }

    #[test]
    fn what_is_forgotten_is_dropped_and_not_kept_again() {
        let mut cache = Cache::default();
        cache.keep(1, cached(1, &[5, 6]), usize::MAX);
        cache.keep(2, cached(1, &[6]), usize::MAX);
        assert_eq!(cache.forget(5).len(), 1);
        assert_eq!(hashes(&cache), [2]);
        assert_eq!(cache.keep(3, cached(1, &[5]), usize::MAX).len(), 1);
        cache.forgotten.remove(&5);
        assert!(cache.keep(3, cached(1, &[5]), usize::MAX).is_empty());
        assert_eq!(hashes(&cache), [2, 3]);
        assert_eq!(cache.holding.len(), 2);
    }
}
