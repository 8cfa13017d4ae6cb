//! A picture of the images that were classified wrongly.

use super::canvas::{Align, Canvas, GREY, INK, PALE, RED, WHITE, text_width};
use super::data::Digits;

/// An image and the wrong digit that was predicted.
pub(crate) struct Mistake<'a> {
    pub(crate) image: &'a [f32],
    pub(crate) truth: i32,
    pub(crate) predicted: i32,
}

/// The side of one pixel of an image.
const ZOOM: i32 = 13;
const IMAGE: i32 = ZOOM * Digits::SIDE as i32;
/// The size of a cell: the image, the text below it, and the space between cells.
const CELL: (i32, i32) = (IMAGE + 26, IMAGE + 58);
const MARGIN: i32 = 36;
const HEADING: i32 = 100;
/// The most images that are drawn; further ones are only counted.
const MOST: usize = 40;

/// The mistakes as a grid, each with "true digit → predicted digit".
pub(crate) fn gallery(title: &str, mistakes: &[Mistake<'_>]) -> Canvas {
    const NONE: &str = "No mistakes.";
    let shown = mistakes.len().min(MOST);
    // About twice as wide as high, and wide enough for the title.
    let columns = ((shown as f64 * 2.0).sqrt().ceil() as usize).clamp(1, 10) as i32;
    let rows = (shown as i32 + columns - 1) / columns;
    let remark = match mistakes.len() - shown {
        0 if shown == 0 => NONE.to_owned(),
        0 => "true → predicted".to_owned(),
        more => format!("true → predicted; {more} more are not shown"),
    };
    let grid = columns * CELL.0 - (CELL.0 - IMAGE);
    let width = grid.max(text_width(title, 3)).max(text_width(&remark, 2)) + 2 * MARGIN;
    let height = HEADING + rows * CELL.1 + MARGIN / 2;

    let mut canvas = Canvas::new(width as usize, height as usize);
    canvas.text((MARGIN, 28), Align::Left, 3, INK, title);
    canvas.text((MARGIN, 62), Align::Left, 2, GREY, &remark);
    for (place, mistake) in (0..).zip(&mistakes[..shown]) {
        let corner = (MARGIN + place % columns * CELL.0, HEADING + place / columns * CELL.1);
        draw(&mut canvas, corner, mistake);
    }
    canvas
}

fn draw(canvas: &mut Canvas, (left, top): (i32, i32), mistake: &Mistake<'_>) {
    canvas.fill(left - 1, top - 1, IMAGE + 2, IMAGE + 2, PALE);
    for (i, &ink) in (0..).zip(mistake.image) {
        let side = Digits::SIDE as i32;
        let mix = |paper: u8, dark: u8| (f32::from(paper) + (f32::from(dark) - f32::from(paper)) * ink) as u8;
        let color = [0, 1, 2].map(|channel| mix(WHITE[channel], INK[channel]));
        canvas.fill(left + i % side * ZOOM, top + i / side * ZOOM, ZOOM, ZOOM, color);
    }
    let (truth, predicted) = (mistake.truth.to_string(), mistake.predicted.to_string());
    let (middle, line) = (left + IMAGE / 2, top + IMAGE + 13);
    let beside = text_width("→", 2) / 2 + 9;
    canvas.text((middle, line), Align::Center, 2, GREY, "→");
    canvas.text((middle - beside, line), Align::Right, 2, INK, &truth);
    canvas.text((middle + beside, line), Align::Left, 2, RED, &predicted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_mistakes_fits() {
        let image = vec![0.5; Digits::PIXELS];
        for count in [0, 1, 2, 7, 40, 41] {
            let mistakes: Vec<_> = (0..count)
                .map(|i| Mistake { image: &image, truth: i % 10, predicted: (i + 1) % 10 })
                .collect();
            gallery("Mistakes", &mistakes);
        }
    }
}
