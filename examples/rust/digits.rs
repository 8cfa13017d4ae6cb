//! Learns to read handwritten digits: `cargo run --release --example digits`.
//!
//! A network of two layers is trained on four fifths of 1,797 images and tested on the last fifth. The training loop is a
//! plain one: the parameters are a struct, `value_and_grad` returns the loss and the gradient as the same struct, and the
//! optimizer returns the next parameters. Two pictures are written to `out/`.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

mod support;

use covector::nn::losses::{Reduction, cross_entropy};
use covector::nn::{Linear, gelu};
use covector::prelude::*;
use std::path::Path;
use support::canvas::{BLUE, Canvas, ORANGE};
use support::chart::{Chart, Scale, Series, Stroke, smoothed};
use support::data::{Digits, Shuffle};
use support::gallery::{Mistake, gallery};
use support::progress::Progress;

const SEED: u64 = 2;
const EPOCHS: usize = 40;
const BATCH: usize = 32;

/// The network and its parameters.
#[derive(Tree, Clone)]
struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn new() -> Self {
        Network { hidden: Linear::new(Digits::PIXELS, 128), output: Linear::new(128, 10) }
    }

    /// One score per digit for each image.
    fn logits(&self, images: &Array) -> Array {
        self.output.forward(&gelu(&self.hidden.forward(images)))
    }

    /// The digit with the highest score.
    fn read(&self, images: &Array) -> Array {
        self.logits(images).argmax_axis(-1, false)
    }
}

/// The images and labels as arrays.
fn arrays(digits: &Digits) -> covector::Result<(Array, Array)> {
    let images = Array::from_slice(&digits.pixels, &[digits.len(), Digits::PIXELS])?;
    Ok((images, Array::from_slice(&digits.labels, &[digits.len()])?))
}

/// The share of digits that are recognised correctly.
fn accuracy(read: &Array, labels: &Array) -> Array {
    read.equal(labels).mean()
}

/// The result of the training.
struct Outcome {
    network: Network,
    losses: Vec<(f64, f64)>,
}

fn train(train: &Digits, test: &Digits, shuffle: &mut Shuffle) -> covector::Result<Outcome> {
    let (images, labels) = arrays(train)?;
    let (test_images, test_labels) = arrays(test)?;
    let batches = train.len() / BATCH;
    let steps = EPOCHS * batches;

    random::seed(SEED);
    let mut network = Network::new();
    let optimizer = optim::AdamW {
        weight_decay: 0.05,
        ..optim::AdamW::new(optim::cosine_decay(4e-3, steps as u64, 0.0)?)
    };
    let mut state = optimizer.init(&network);

    let mut losses = Vec::with_capacity(steps);
    let mut progress = Progress::new("training", steps);
    for _ in 0..EPOCHS {
        let order = shuffle.permutation(train.len());
        for batch in order.chunks_exact(BATCH) {
            let batch: Vec<u32> = batch.iter().map(|&index| index as u32).collect();
            let batch = Array::new(batch);
            let (x, y) = (images.take(&batch, 0), labels.take(&batch, 0));

            let loss = |network: &Network| cross_entropy(&network.logits(&x), &y, Reduction::Mean);
            let (value, grads) = value_and_grad(loss)(&network)?;
            (network, state) = optimizer.update(&network, &grads, &state)?;

            let value = f64::from(value.try_item::<f32>()?);
            losses.push((losses.len() as f64, value));
            progress.step(|| {
                let share = accuracy(&network.read(&test_images), &test_labels).item::<f32>();
                format!("loss {value:.4}  test accuracy {:.1} %", 100.0 * share)
            });
        }
    }
    Ok(Outcome { network, losses })
}

fn loss_curve(losses: &[(f64, f64)]) -> Canvas {
    let average = smoothed(losses, 20.0);
    let series = [
        Series { name: "each batch", color: BLUE, stroke: Stroke::Faint, points: losses },
        Series { name: "average", color: ORANGE, stroke: Stroke::Bold, points: &average },
    ];
    let title = "Learning to read digits";
    Chart { title, x_label: "step", y_label: "cross entropy", y_scale: Scale::Log, series: &series }.draw()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut shuffle = Shuffle::new(SEED);
    let (train_set, test_set) = Digits::load().split(5, &mut shuffle);
    println!("{} images to learn from, {} to test with", train_set.len(), test_set.len());
    let Outcome { network, losses } = train(&train_set, &test_set, &mut shuffle)?;

    let (images, labels) = arrays(&test_set)?;
    let read = network.read(&images);
    let share = accuracy(&read, &labels).try_item::<f32>()?;
    let mistakes: Vec<Mistake<'_>> = (0..)
        .zip(read.try_to_vec::<u32>()?)
        .map(|(i, predicted)| Mistake {
            image: test_set.image(i),
            truth: test_set.labels[i],
            predicted: predicted as i32,
        })
        .filter(|mistake| mistake.truth != mistake.predicted)
        .collect();

    let title = format!("{} of {} digits misread", mistakes.len(), test_set.len());
    for (name, canvas) in [("loss.png", loss_curve(&losses)), ("misread.png", gallery(&title, &mistakes))] {
        let path = Path::new("out").join("digits").join(name);
        canvas.save(&path)?;
        println!("wrote {}", path.display());
    }
    println!("test accuracy {:.1} %", 100.0 * share);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program's claims, checked with another division of the images.
    #[test]
    fn it_learns_to_read() {
        let mut shuffle = Shuffle::new(7);
        let (train_set, test_set) = Digits::load().split(5, &mut shuffle);
        let Outcome { network, losses } = train(&train_set, &test_set, &mut shuffle).unwrap();
        let (images, labels) = arrays(&test_set).unwrap();
        assert!(accuracy(&network.read(&images), &labels).item::<f32>() >= 0.97);
        assert!(losses[losses.len() - 1].1 < 0.1 * losses[0].1);
    }
}
