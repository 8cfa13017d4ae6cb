//! Convolution and pooling layers in a network.

use covector_core::transforms::{grad, value_and_grad};
use covector_core::{Array, Dtype, ops, random};
use covector_nn::losses::{Reduction, cross_entropy};
use covector_nn::optim::{AdamW, Optimizer};
use covector_nn::{AvgPool2d, Conv2d, Layer, Linear, MaxPool2d, Relu};

#[test]
fn options_mean_what_they_say() {
    random::seed(1);
    let images = ops::ones(&[2, 9, 7, 3], Dtype::F32);
    assert_eq!(Conv2d::new(3, 4, [3, 2]).forward(&images).shape(), [2, 7, 6, 4]);
    assert_eq!(
        Conv2d::new(3, 4, [3, 3]).padded([1, 1]).strided([2, 3]).forward(&images).shape(),
        [2, 5, 3, 4]
    );
    let pool = MaxPool2d { stride: [1, 2], padding: [1, 0], ..MaxPool2d::new([2, 3]) };
    assert_eq!(pool.forward(&images).shape(), [2, 10, 3, 3]);
    assert_eq!(AvgPool2d::new([3, 7]).forward(&images).to_vec::<f32>(), [1.0; 18]);
    let mut plain = Conv2d::new(3, 4, [1, 1]);
    plain.bias = None;
    plain.groups = 2;
    assert!(plain.try_forward(&images).unwrap_err().to_string().contains("groups"));
}

#[test]
fn a_network_tells_stripes_apart() {
    random::seed(0);
    // Sixteen images with one bright stripe that lies or stands.
    let mut values = vec![0.0f32; 16 * 64];
    for i in 0..8 {
        for k in 0..8 {
            values[i * 64 + i * 8 + k] = 1.0;
            values[(8 + i) * 64 + k * 8 + i] = 1.0;
        }
    }
    let images = Array::from_slice(&values, &[16, 8, 8, 1]).unwrap();
    let labels = Array::from_slice(&[[0i32; 8], [1; 8]].concat(), &[16]).unwrap();
    type Net = (Conv2d, Relu, MaxPool2d, Conv2d, Relu, AvgPool2d);
    let features: Net = (
        Conv2d::new(1, 8, [3, 3]).padded([1, 1]),
        Relu,
        MaxPool2d::new([2, 2]),
        Conv2d::new(8, 8, [3, 3]),
        Relu,
        AvgPool2d::new([2, 2]),
    );
    let loss = |(net, head): &(Net, Linear)| {
        let flat = net.forward(&images).reshape(&[16, 8]);
        cross_entropy(&head.forward(&flat), &labels, Reduction::Mean)
    };
    let mut net = (features, Linear::new(8, 2));
    // The structure of the gradient is that of the network, what is no array included.
    let grads = grad(loss)(&net).unwrap();
    assert_eq!(grads.0.0.weight.shape(), [8, 3, 3, 1]);
    assert_eq!(grads.0.0.padding, [1, 1]);
    let (optimizer, step) = (AdamW::new(1e-2), value_and_grad(loss));
    let mut state = optimizer.init(&net);
    let before = step(&net).unwrap().0.item::<f32>();
    for _ in 0..60 {
        let (_, grads) = step(&net).unwrap();
        (net, state) = optimizer.update(&net, &grads, &state).unwrap();
    }
    assert!(step(&net).unwrap().0.item::<f32>() < 0.5 * before);
}
