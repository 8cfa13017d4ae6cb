//! A grid of coloured pixels with lines, boxes and text for charts, saved as PNG.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::Path;

use super::font;

/// Red, green, blue.
pub(crate) type Rgb = [u8; 3];

pub(crate) const WHITE: Rgb = [255, 255, 255];
/// For text and axes: softer than black.
pub(crate) const INK: Rgb = [38, 42, 51];
/// For less important text: tick labels, remarks.
pub(crate) const GREY: Rgb = [118, 124, 136];
/// For grid lines and frames.
pub(crate) const PALE: Rgb = [228, 231, 236];
pub(crate) const BLUE: Rgb = [31, 103, 190];
pub(crate) const ORANGE: Rgb = [222, 120, 24];
pub(crate) const RED: Rgb = [205, 50, 54];

/// The position of a text's reference point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

/// A picture. Coordinates have their origin at the top left; pixels outside of the picture are not drawn.
#[derive(Clone, Debug)]
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Canvas { width, height, pixels: vec![WHITE; width * height] }
    }

    /// Draws a colour over a pixel; an opacity of 1 replaces it.
    fn blend(&mut self, x: i32, y: i32, color: Rgb, opacity: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width || y >= self.height {
            return;
        }
        let under = &mut self.pixels[y * self.width + x];
        for (under, over) in under.iter_mut().zip(color) {
            let (below, above) = (f32::from(*under), f32::from(over));
            *under = (below + (above - below) * opacity.clamp(0.0, 1.0)).round() as u8;
        }
    }

    pub(crate) fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, color: Rgb) {
        for y in y..y + height {
            for x in x..x + width {
                self.blend(x, y, color, 1.0);
            }
        }
    }

    /// Draws a line through the points, with smooth edges. Crossings are not darker, because the opacity is that of the whole
    /// line.
    pub(crate) fn polyline(&mut self, points: &[(f32, f32)], width: f32, color: Rgb, opacity: f32) {
        let reach = width / 2.0 + 1.0;
        let mut cover = vec![0.0f32; self.width * self.height];
        let last = points.iter().zip(points).filter(|_| points.len() == 1);
        for (&from, &to) in points.iter().zip(points.iter().skip(1)).chain(last) {
            let span = |a: f32, b: f32, limit: usize| {
                let low = (a.min(b) - reach).floor().max(0.0) as usize;
                low..((a.max(b) + reach).ceil().max(0.0) as usize).min(limit)
            };
            for y in span(from.1, to.1, self.height) {
                for x in span(from.0, to.0, self.width) {
                    let distance = distance_to_segment((x as f32 + 0.5, y as f32 + 0.5), from, to);
                    let cover = &mut cover[y * self.width + x];
                    *cover = cover.max((width / 2.0 + 0.5 - distance).clamp(0.0, 1.0));
                }
            }
        }
        for (i, cover) in cover.into_iter().enumerate().filter(|(_, cover)| *cover > 0.0) {
            self.blend((i % self.width) as i32, (i / self.width) as i32, color, cover * opacity);
        }
    }

    /// A line of text. `scale` is the side of one of the font's pixels; `y` is the top of a capital.
    pub(crate) fn text(&mut self, (x, y): (i32, i32), align: Align, scale: i32, color: Rgb, text: &str) {
        let left = x - shift(align, text_width(text, scale));
        for (column, row) in font::pixels(text) {
            self.fill(left + column as i32 * scale, y + row as i32 * scale, scale, scale, color);
        }
    }

    /// A line of text that reads upwards, centred on `y`; `x` is the left side, where the tops of capitals are.
    pub(crate) fn text_upwards(&mut self, (x, y): (i32, i32), scale: i32, color: Rgb, text: &str) {
        let bottom = y + shift(Align::Center, text_width(text, scale));
        for (column, row) in font::pixels(text) {
            self.fill(x + row as i32 * scale, bottom - (column as i32 + 1) * scale, scale, scale, color);
        }
    }

    /// Writes the picture, and creates its folder.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let too_large =
            |_| io::Error::new(io::ErrorKind::InvalidInput, "a picture of more than 2^32 pixels a side");
        let (width, height) =
            (self.width.try_into().map_err(too_large)?, self.height.try_into().map_err(too_large)?);
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        Ok(writer.finish()?)
    }
}

/// The width of a line of text as [`Canvas::text`] draws it.
pub(crate) fn text_width(text: &str, scale: i32) -> i32 {
    font::width(text) as i32 * scale
}

fn shift(align: Align, width: i32) -> i32 {
    match align {
        Align::Left => 0,
        Align::Center => width / 2,
        Align::Right => width,
    }
}

fn distance_to_segment(point: (f32, f32), from: (f32, f32), to: (f32, f32)) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let length2 = dx * dx + dy * dy;
    let along = if length2 > 0.0 { ((px * dx + py * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (px - along * dx).hypot(py - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_outside_is_no_error() {
        let mut canvas = Canvas::new(10, 10);
        canvas.fill(-5, -5, 100, 8, INK);
        canvas.text((-20, 4), Align::Left, 2, RED, "outside");
        canvas.polyline(&[(-50.0, -50.0), (50.0, 70.0)], 2.0, BLUE, 0.5);
        assert_eq!((canvas.pixels[0], canvas.pixels.len()), (INK, 100));
    }

    #[test]
    fn a_translucent_line_is_no_darker_at_its_joints() {
        let mut canvas = Canvas::new(9, 9);
        canvas.polyline(&[(0.0, 4.5), (4.5, 4.5), (4.5, 4.5), (9.0, 4.5)], 1.0, [0, 0, 0], 0.5);
        let row: Vec<u8> = canvas.pixels[4 * 9..5 * 9].iter().map(|pixel| pixel[0]).collect();
        assert_eq!(row, [128; 9]);
    }

    #[test]
    fn a_saved_picture_reads_back() {
        let mut canvas = Canvas::new(3, 2);
        canvas.fill(1, 0, 1, 2, RED);
        let path =
            std::env::temp_dir().join(format!("covector-canvas-{}", std::process::id())).join("a/b.png");
        canvas.save(&path).expect("a temporary folder can be written to");
        let mut reader =
            png::Decoder::new(io::BufReader::new(File::open(&path).unwrap())).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(bytes, [WHITE, RED, WHITE, WHITE, RED, WHITE].as_flattened());
        fs::remove_dir_all(path.ancestors().nth(2).unwrap()).unwrap();
    }
}
