//! Every constant that a decision of the passes rests on, with the reason for its value. Cache sizes are those of current
//! server processors: 32 KiB in the first level, 1 MiB in the second.

/// Inputs that a map of several elements may have: each needs a tile of its own, and 32 tiles of 2 KiB fill the
/// second-level cache by a sixteenth.
pub(crate) const MAX_INPUTS: usize = 32;
/// Inputs that a map of single elements may have. They are read in place, without tiles.
pub(crate) const MAX_SCALARS: usize = 1 << 20;
/// Operations of a map. Registers of a program are numbered with 32 bits.
pub(crate) const MAX_OPS: usize = 1 << 22;

/// Inputs of a stage that may run with others. Maps of single elements have more, and run alone.
pub(crate) const MAX_STAGE_INPUTS: usize = 32;
/// Stages of a region: looking for a place among more takes longer than it can save.
pub(crate) const MAX_STAGES: usize = 64;
/// Regions whose dependences are tracked as sets of bits. 4,096 sets of 512 bytes take 2 MiB; beyond, a stage joins only
/// the latest of its producers, and planning stays linear.
pub(crate) const MAX_TRACKED: usize = 4096;
/// Elements of a row of a region: a block holds at least one row of each value, and several such rows fill the
/// second-level cache.
pub(crate) const MAX_ROW: usize = 1 << 15;
/// Rows of a region, at least: with fewer there is too little to share among threads, unless all of it is small.
pub(crate) const MIN_ROWS: usize = 16;
/// Elements that count as small for [`MIN_ROWS`]: one thread is done with them before a second has started.
pub(crate) const SMALL: usize = 1 << 13;
/// Elements that a stage must read of a second region for the two to become one: fewer are in the first-level cache.
pub(crate) const WORTH_JOINING: usize = 1 << 12;

/// Columns of a narrow matrix: a dot with it takes its time for reading the other factor, which should then be read
/// once for all that is done to it.
pub(crate) const MAX_NARROW: usize = 16;
/// Columns of the tall factor of such a dot, and its elements at least. Other dots are faster as a whole.
pub(crate) const MAX_WIDTH: usize = 256;
/// See [`MAX_WIDTH`].
pub(crate) const MIN_TALL: usize = 1 << 16;

/// Rows of a dot beyond which neither merging nor a transposed copy of its matrix gains much.
pub(crate) const FEW_ROWS: usize = 56;
/// Rows up to which a dot reads a transposed matrix as fast as a plain one.
pub(crate) const FEWEST_ROWS: usize = 8;
/// Dots that justify a transposed copy of the matrix they share: making it takes about as long as a dozen rows.
pub(crate) const MANY_DOTS: usize = 3;
/// Bytes of the results of merged dots, all of which then exist at once.
pub(crate) const MAX_MERGED_BYTES: usize = 32 << 20;

/// Operations of a map whose parts may be recomputed elsewhere. Longer maps are made of single numbers.
pub(crate) const MAX_RECOMPUTED: usize = 256;
/// Cheap operations that are done twice for one value that then is not stored.
pub(crate) const MAX_COPIED: usize = 4;

/// Bytes of a dot's result from which on what follows it runs as its epilogue. A smaller result is still in the
/// second-level cache when it is complete, and the stage after it can be divided more evenly.
pub(crate) const MIN_EPILOGUE_BYTES: usize = 1 << 20;

/// Bytes from which on memory is used again at once: a fresh block of this size costs page faults.
pub(crate) const LARGE: usize = 1 << 16;
/// Elements of a row below which it is not written with gaps between rows: a program begins anew with each.
pub(crate) const SHORT_ROW: usize = 32;
