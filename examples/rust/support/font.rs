//! A small bitmap font, drawn in text, so that a picture's labels need no font file and no font library.
//!
//! Capitals and figures are seven pixels high; two more rows are for descenders.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Rows from the top of a capital to the lowest descender.
const HEIGHT: usize = 9;
/// The width of a space between words.
const SPACE: usize = 4;

/// Some characters, and below them their shapes side by side.
type Block = (&'static str, [&'static str; HEIGHT]);

#[rustfmt::skip]
const BLOCKS: [Block; 6] = [
    ("0123456789", [
        ".###. .#. .###. .###. ...#. ##### ..##. ##### .###. .###.",
        "#...# ##. #...# #...# ..##. #.... .#... ....# #...# #...#",
        "#...# .#. ....# ....# .#.#. ####. #.... ...#. #...# #...#",
        "#...# .#. ...#. ..##. #..#. ....# ####. ...#. .###. .####",
        "#...# .#. ..#.. ....# ##### ....# #...# ..#.. #...# ....#",
        "#...# .#. .#... #...# ...#. #...# #...# ..#.. #...# ...#.",
        ".###. ### ##### .###. ...#. .###. .###. ..#.. .###. .##..",
        "..... ... ..... ..... ..... ..... ..... ..... ..... .....",
        "..... ... ..... ..... ..... ..... ..... ..... ..... .....",
    ]),
    ("ABCDEFGHIJKLM", [
        ".###. ####. .###. ####. ##### ##### .###. #...# ### ...# #...# #... #...#",
        "#...# #...# #...# #...# #.... #.... #...# #...# .#. ...# #..#. #... ##.##",
        "#...# #...# #.... #...# #.... #.... #.... #...# .#. ...# #.#.. #... #.#.#",
        "##### ####. #.... #...# ####. ####. #..## ##### .#. ...# ##... #... #.#.#",
        "#...# #...# #.... #...# #.... #.... #...# #...# .#. ...# #.#.. #... #...#",
        "#...# #...# #...# #...# #.... #.... #...# #...# .#. #..# #..#. #... #...#",
        "#...# ####. .###. ####. ##### #.... .#### #...# ### .##. #...# #### #...#",
        "..... ..... ..... ..... ..... ..... ..... ..... ... .... ..... .... .....",
        "..... ..... ..... ..... ..... ..... ..... ..... ... .... ..... .... .....",
    ]),
    ("NOPQRSTUVWXYZ", [
        "#...# .###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# #####",
        "##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....#",
        "#.#.# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.",
        "#..## #...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..",
        "#...# #...# #.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#...",
        "#...# #...# #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #....",
        "#...# .###. #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. #####",
        "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
        "..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....",
    ]),
    ("abcdefghijklm", [
        "..... #.... .... ....# ..... ..## ..... #.... # ..# #... #. .....",
        "..... #.... .... ....# ..... .#.. ..... #.... . ... #... #. .....",
        ".###. ####. .### .#### .###. ###. .#### ####. # ..# #..# #. ##.#.",
        "....# #...# #... #...# #...# .#.. #...# #...# # ..# #.#. #. #.#.#",
        ".#### #...# #... #...# ##### .#.. #...# #...# # ..# ##.. #. #.#.#",
        "#...# #...# #... #...# #.... .#.. #...# #...# # ..# #.#. #. #.#.#",
        ".#### ####. .### .#### .#### .#.. .#### #...# # ..# #..# .# #.#.#",
        "..... ..... .... ..... ..... .... ....# ..... . ..# .... .. .....",
        "..... ..... .... ..... ..... .... .###. ..... . ##. .... .. .....",
    ]),
    ("nopqrstuvwxyz", [
        "..... ..... ..... ..... .... .... .... ..... ..... ..... ..... ..... .....",
        "..... ..... ..... ..... .... .... .#.. ..... ..... ..... ..... ..... .....",
        "####. .###. ####. .#### #.## .### #### #...# #...# #...# #...# #...# #####",
        "#...# #...# #...# #...# ##.. #... .#.. #...# #...# #...# .#.#. #...# ...#.",
        "#...# #...# #...# #...# #... .##. .#.. #...# .#.#. #.#.# ..#.. #...# ..#..",
        "#...# #...# #...# #...# #... ...# .#.. #...# .#.#. #.#.# .#.#. #...# .#...",
        "#...# .###. ####. .#### #... ###. ..## .#### ..#.. .#.#. #...# .#### #####",
        "..... ..... #.... ....# .... .... .... ..... ..... ..... ..... ....# .....",
        "..... ..... #.... ....# .... .... .... ..... ..... ..... ..... .###. .....",
    ]),
    (".,:;-+%/()=_'!?→×", [
        ". .. . .. .... ..... ##..# ....# ..# #.. .... ..... # # .###. ....... .....",
        ". .. . .. .... ..... ##..# ....# .#. .#. .... ..... # # #...# ....#.. .....",
        ". .. # .# .... ..#.. ...#. ...#. #.. ..# #### ..... . # ....# .....#. #...#",
        ". .. . .. #### ..#.. ..#.. ..#.. #.. ..# .... ..... . # ...#. ####### .#.#.",
        ". .. . .. .... ##### .#... .#... #.. ..# #### ..... . # ..#.. .....#. ..#..",
        ". .# . .# .... ..#.. #..## #.... .#. .#. .... ..... . . ..... ....#.. .#.#.",
        "# .# # .# .... ..#.. #..## #.... ..# #.. .... ##### . # ..#.. ....... #...#",
        ". #. . #. .... ..... ..... ..... ... ... .... ..... . . ..... ....... .....",
        ". .. . .. .... ..... ..... ..... ... ... .... ..... . . ..... ....... .....",
    ]),
];

/// The rows of a character, of one length each; `#` is ink.
type Glyph = [&'static str; HEIGHT];

static GLYPHS: LazyLock<HashMap<char, Glyph>> = LazyLock::new(|| {
    let mut glyphs = HashMap::new();
    for (characters, rows) in &BLOCKS {
        let mut rows = rows.map(str::split_whitespace);
        for character in characters.chars() {
            glyphs.insert(character, rows.each_mut().map(|row| row.next().unwrap_or_default()));
        }
    }
    glyphs
});

/// The width of a line of text, in the font's pixels.
pub(crate) fn width(text: &str) -> usize {
    pens(text).last().map_or(0, |(left, glyph)| left + advance(glyph) - 1)
}

/// The inked pixels of a line of text, from its top left corner.
pub(crate) fn pixels(text: &str) -> impl Iterator<Item = (usize, usize)> {
    pens(text).filter_map(|(left, glyph)| Some((left, glyph?))).flat_map(|(left, glyph)| {
        glyph.into_iter().enumerate().flat_map(move |(y, row)| {
            row.bytes().enumerate().filter(|(_, ink)| *ink == b'#').map(move |(x, _)| (left + x, y))
        })
    })
}

/// The position and shape of each character; a space has no shape. Characters that the font does not have appear as question
/// marks.
fn pens(text: &str) -> impl Iterator<Item = (usize, Option<Glyph>)> {
    text.chars().scan(0, |pen, character| {
        let glyph = match character {
            ' ' => None,
            _ => GLYPHS.get(&character).or_else(|| GLYPHS.get(&'?')).copied(),
        };
        let left = *pen;
        *pen += advance(glyph);
        Some((left, glyph))
    })
}

/// The advance of a character: its width and one empty column.
fn advance(glyph: Option<Glyph>) -> usize {
    1 + glyph.map_or(SPACE - 1, |rows| rows[0].len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_a_full_rectangle_with_ink() {
        for (characters, rows) in &BLOCKS {
            for row in rows {
                assert_eq!(row.split_whitespace().count(), characters.chars().count(), "{row}");
            }
        }
        for (character, rows) in GLYPHS.iter() {
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{character}");
            assert!(rows.iter().any(|row| row.contains('#')), "{character}");
        }
    }

    #[test]
    fn text_is_measured_as_it_is_drawn() {
        for text in ["", "1", "Loss 0.25", "7 → 9", "quay"] {
            let right = pixels(text).map(|(x, _)| x + 1).max().unwrap_or(0);
            assert!(
                width(text) >= right && width(text) <= right + 1,
                "{text:?}: {} and {right}",
                width(text)
            );
        }
        assert_eq!(width("\u{1f40c}"), width("?"));
    }
}
