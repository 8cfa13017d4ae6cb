//! The handwritten digits, compiled into the program. `examples/data/README.md` has their format and origin.

/// Images and their digits. Both lists are flat: arrays of shapes `[n, 64]` and `[n]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Digits {
    /// 64 pixels an image, row by row; 0 is paper, 1 is ink.
    pub(crate) pixels: Vec<f32>,
    /// The digit in each image.
    pub(crate) labels: Vec<i32>,
}

impl Digits {
    /// The height and width of an image.
    pub(crate) const SIDE: usize = 8;
    /// The number of pixels in an image.
    pub(crate) const PIXELS: usize = Self::SIDE * Self::SIDE;

    /// All 1,797 images.
    pub(crate) fn load() -> Self {
        parse(include_bytes!("../../data/digits.bin"))
            .expect("the data file is compiled in, and a test has read it")
    }

    /// The number of images.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The pixels of one image.
    pub(crate) fn image(&self, index: usize) -> &[f32] {
        &self.pixels[index * Self::PIXELS..][..Self::PIXELS]
    }

    /// The images at `indices`, in that order.
    pub(crate) fn pick(&self, indices: &[usize]) -> Self {
        Digits {
            pixels: indices.iter().flat_map(|&index| self.image(index)).copied().collect(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    /// Shuffles the images and divides them: one in `held_out` is for testing, the others are for training.
    pub(crate) fn split(&self, held_out: usize, shuffle: &mut Shuffle) -> (Self, Self) {
        let order = shuffle.permutation(self.len());
        let (test, train) = order.split_at(self.len() / held_out);
        (self.pick(train), self.pick(test))
    }
}

/// Reads the data file's format; the error names the mistake.
fn parse(bytes: &[u8]) -> Result<Digits, String> {
    const HEADER: usize = 16;
    const RECORD: usize = 1 + Digits::PIXELS;
    let Some((header, records)) = bytes.split_at_checked(HEADER) else {
        return Err(format!("{} bytes are less than a header", bytes.len()));
    };
    let (magic, sizes) = header.split_at(8);
    if magic != b"DIGITS\0\x01" {
        return Err(format!("it begins with {magic:?}, not with the name and version of the format"));
    }
    let count = u32::from_le_bytes([sizes[0], sizes[1], sizes[2], sizes[3]]) as usize;
    let (height, width) =
        (u16::from_le_bytes([sizes[4], sizes[5]]), u16::from_le_bytes([sizes[6], sizes[7]]));
    if (usize::from(height), usize::from(width)) != (Digits::SIDE, Digits::SIDE) {
        return Err(format!("its images are {height}x{width}"));
    }
    if records.len() != count * RECORD {
        return Err(format!("{count} images take {} bytes, there are {}", count * RECORD, records.len()));
    }
    let mut digits =
        Digits { pixels: Vec::with_capacity(count * Digits::PIXELS), labels: Vec::with_capacity(count) };
    for (index, record) in records.chunks_exact(RECORD).enumerate() {
        let (label, pixels) = (record[0], &record[1..]);
        if label > 9 || pixels.iter().any(|&pixel| pixel > 16) {
            return Err(format!("image {index} has a label above 9 or a pixel above 16"));
        }
        digits.labels.push(i32::from(label));
        digits.pixels.extend(pixels.iter().map(|&pixel| f32::from(pixel) / 16.0));
    }
    Ok(digits)
}

/// Random orders, the same in every run. The generator is SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Shuffle(u64);

impl Shuffle {
    pub(crate) fn new(seed: u64) -> Self {
        Shuffle(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The numbers below `n` in a random order.
    pub(crate) fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            // The high half of the product is below `i + 1`, and almost uniform for any `n` that fits in memory.
            let j = (u128::from(self.next()) * (i as u128 + 1)) >> 64;
            order.swap(i, j as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_what_its_readme_says() {
        let digits = Digits::load();
        assert_eq!((digits.len(), digits.pixels.len()), (1797, 1797 * 64));
        assert_eq!(digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let per_digit = (0..10).map(|digit| digits.labels.iter().filter(|&&label| label == digit).count());
        assert_eq!(per_digit.collect::<Vec<_>>(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let row: Vec<f32> = digits.image(0)[..8].iter().map(|pixel| pixel * 16.0).collect();
        assert_eq!(row, [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let good = include_bytes!("../../data/digits.bin");
        assert!(parse(&good[..10]).is_err());
        assert!(parse(&good[..good.len() - 1]).is_err());
        let damaged = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            parse(&bytes)
        };
        for (at, byte) in [(0, b'd'), (7, 2), (8, 0), (12, 9), (16, 10), (17, 17)] {
            assert!(damaged(at, byte).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_split_keeps_every_image_once() {
        let digits = Digits::load();
        let (train, test) = digits.split(5, &mut Shuffle::new(1));
        assert_eq!((train.len(), test.len()), (1438, 359));
        let sorted = |parts: &[&Digits]| {
            let mut images: Vec<(i32, Vec<u32>)> = parts
                .iter()
                .flat_map(|part| (0..part.len()).map(|i| (part.labels[i], bits(part.image(i)))))
                .collect();
            images.sort();
            images
        };
        assert_eq!(sorted(&[&train, &test]), sorted(&[&digits]));
        assert_eq!(digits.split(5, &mut Shuffle::new(1)), (train, test));
    }

    fn bits(image: &[f32]) -> Vec<u32> {
        image.iter().map(|pixel| pixel.to_bits()).collect()
    }

    #[test]
    fn orders_are_permutations_and_differ() {
        let mut shuffle = Shuffle::new(7);
        let (first, second) = (shuffle.permutation(100), shuffle.permutation(100));
        assert_ne!(first, second);
        for order in [first, second] {
            let mut sorted = order;
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        assert_eq!(shuffle.permutation(0), []);
    }
}
