//! Values from Python: scalars, nested lists, NumPy arrays, buffers, and the arguments of operations.

use crate::array::PyArray;
use crate::errors::OrRaise;
use crate::foreign;
use crate::numpy;
use crate::scalar::{FromScalar, Scalar};
use covector_core::buffer::room;
use covector_core::shape::ShapeText;
use covector_core::{Array, Dtype, ops};
use covector_kernels::with_dtype;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyList, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::cmp::Ordering;

/// Describes an object in error messages: `None`, or `a value of type list`.
pub(crate) fn describe(obj: &Bound<'_, PyAny>) -> String {
    if obj.is_none() {
        return "None".into();
    }
    match obj.get_type().fully_qualified_name() {
        Ok(name) => format!("a value of type {name}"),
        Err(_) => "a value of an unnamed type".into(),
    }
}

/// Whether an object is a number of any kind, such as a `Fraction` or a `Decimal`.
pub(crate) fn is_number(obj: &Bound<'_, PyAny>) -> bool {
    static NUMBER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let number = NUMBER.import(obj.py(), "numbers", "Number");
    number.is_ok_and(|number| obj.is_instance(number).unwrap_or(false))
}

/// The remedy in error messages for an object that is not an operand.
pub(crate) fn remedy(obj: &Bound<'_, PyAny>) -> &'static str {
    if is_number(obj) { "convert it with float() first" } else { "make an array of it with mx.array" }
}

/// Lists that are nested deeper are refused, because a list can contain itself.
const DEEPEST: usize = 64;

/// The array that `mx.array(value, dtype)` makes.
pub(crate) fn array(value: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Array> {
    if let Ok(array) = value.cast::<PyArray>() {
        let array = array.get().get();
        return match dtype {
            Some(dtype) => array.try_astype(dtype).or_raise(),
            None => Ok(array),
        };
    }
    if value.is_none() {
        return Err(PyTypeError::new_err("[array] None is not a value; pass a number, a list, or an array"));
    }
    // NumPy numbers are excluded here: `np.float64` is a subclass of Python's float.
    if let Some(scalar) = Scalar::of(value)? {
        return match dtype {
            Some(dtype) => Ok(scalar.array(dtype)),
            None => scalar.natural_array(),
        };
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        return nested(value, dtype);
    }
    if let Some((scalar, alone)) = numpy::number(value)? {
        return Ok(scalar.array(dtype.unwrap_or(alone)));
    }
    if let Some(array) = foreign::import(value, &|have| dtype.unwrap_or(foreign::alone(have)))? {
        return Ok(array);
    }
    if is_number(value) {
        return Err(PyTypeError::new_err(format!(
            "[array] cannot make an array of {}; convert it with float() first",
            describe(value)
        )));
    }
    Err(PyValueError::new_err(format!(
        "[array] cannot make an array of {}; pass a number, a nested list of numbers, or an array",
        describe(value)
    )))
}

/// The numbers of nested lists, in row-major order.
#[derive(Default)]
struct Nest {
    shape: Vec<usize>,
    /// For each axis, the path to its first row, which sets its extent.
    firsts: Vec<Vec<usize>>,
    /// For each level, whether its items are lists, and the path to the first item.
    kinds: Vec<(bool, Vec<usize>)>,
    values: Vec<Scalar>,
    /// An array was found among the numbers.
    arrays: bool,
    /// The path to the present item of the walk.
    row: Vec<usize>,
}

impl Nest {
    fn walk(&mut self, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let depth = self.row.len();
        if depth >= DEEPEST {
            return Err(PyValueError::new_err(format!(
                "[array] lists nested deeper than {DEEPEST} levels cannot form an array"
            )));
        }
        if let Ok(list) = value.cast::<PyList>() {
            self.extent(list.len())?;
            return self.items(list.iter());
        }
        let tuple = value.cast::<PyTuple>()?;
        self.extent(tuple.len())?;
        self.items(tuple.iter())
    }

    fn items<'py>(&mut self, items: impl Iterator<Item = Bound<'py, PyAny>>) -> PyResult<()> {
        let depth = self.row.len();
        self.row.push(0);
        for (i, item) in items.enumerate() {
            self.row[depth] = i;
            self.item(&item)?;
        }
        self.row.pop();
        Ok(())
    }

    /// Records the extent of one axis. All rows of a level must have the same.
    fn extent(&mut self, n: usize) -> PyResult<()> {
        let depth = self.row.len();
        if self.shape.len() <= depth {
            self.shape.push(n);
            self.firsts.push(self.row.clone());
        }
        if self.shape[depth] == n || self.arrays {
            return Ok(());
        }
        let count = |n: usize| format!("{n} element{}", if n == 1 { "" } else { "s" });
        Err(uneven(
            "row",
            &self.row,
            &format!("has {}", count(n)),
            &self.firsts[depth],
            &format!("has {}", self.shape[depth]),
        ))
    }

    fn item(&mut self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.arrays {
            return Ok(());
        }
        if let Some(scalar) = Scalar::of(item)? {
            self.kind(false)?;
            if self.values.try_reserve(1).is_err() {
                return Err(PyMemoryError::new_err(format!(
                    "[array] could not allocate memory for the numbers of a list; {} were read",
                    self.values.len()
                )));
            }
            self.values.push(scalar);
            return Ok(());
        }
        if item.is_instance_of::<PyList>() || item.is_instance_of::<PyTuple>() {
            self.kind(true)?;
            return self.walk(item);
        }
        if item.is_instance_of::<PyArray>() || foreign::is_array(item) {
            self.arrays = true;
            return Ok(());
        }
        Err(PyValueError::new_err(format!(
            "[array] a list may hold numbers, arrays and lists of these, not {}",
            describe(item)
        )))
    }

    /// Records whether an item is a list or a number. All items of a level must be the same.
    fn kind(&mut self, list: bool) -> PyResult<()> {
        let level = self.row.len() - 1;
        if self.kinds.len() <= level {
            self.kinds.push((list, self.row.clone()));
        }
        let (first_is_list, first) = &self.kinds[level];
        if *first_is_list == list {
            return Ok(());
        }
        let text = |list: bool| if list { "is a list" } else { "is a number" };
        Err(uneven("element", &self.row, text(list), first, text(!list)))
    }
}

/// `[array] row 1 has 3 elements, but row 0 has 2; all rows of a level must be alike`.
fn uneven(what: &str, row: &[usize], is: &str, first: &[usize], first_is: &str) -> PyErr {
    let text = |row: &[usize]| match row {
        [i] => i.to_string(),
        _ => row.iter().map(|i| format!("[{i}]")).collect(),
    };
    PyValueError::new_err(format!(
        "[array] {what} {} {is}, but {what} {} {first_is}; all rows of a level must be alike",
        text(row),
        text(first)
    ))
}

fn nested(value: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Array> {
    let mut nest = Nest::default();
    nest.walk(value)?;
    if nest.arrays {
        let array = stacked(value, &mut Vec::new())?;
        return match dtype {
            Some(dtype) => array.try_astype(dtype).or_raise(),
            None => Ok(array),
        };
    }
    let dtype = match dtype {
        Some(dtype) => dtype,
        None => common(&nest.values)?,
    };
    with_dtype!(dtype, T => {
        let mut values = room::<T>("array", nest.values.len()).or_raise()?;
        values.extend(nest.values.iter().map(|&v| <T as FromScalar>::from_scalar(v)));
        Array::from_slice(&values, &nest.shape).or_raise()
    })
}

/// The widest kind among the numbers; `float32` without numbers.
fn common(values: &[Scalar]) -> PyResult<Dtype> {
    let mut widest: Option<Dtype> = None;
    let rank = |d: Dtype| match d {
        Dtype::Bool => 0,
        Dtype::I32 => 1,
        Dtype::I64 => 2,
        Dtype::U64 => 3,
        Dtype::F32 => 4,
        _ => 5,
    };
    for value in values {
        let dtype = value.natural();
        if widest.is_none_or(|w| rank(dtype) > rank(w)) {
            widest = Some(dtype);
        }
    }
    let dtype = widest.unwrap_or(Dtype::F32);
    if dtype.is_integer() {
        values.iter().try_for_each(|v| v.check(dtype))?;
    }
    Ok(dtype)
}

/// Stacks nested lists that hold arrays, in the type that the arrays share.
fn stacked(value: &Bound<'_, PyAny>, row: &mut Vec<usize>) -> PyResult<Array> {
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let depth = row.len();
        if depth >= DEEPEST {
            return Err(PyValueError::new_err(format!(
                "[array] lists nested deeper than {DEEPEST} levels cannot form an array"
            )));
        }
        row.push(0);
        let mut parts: Vec<Array> = Vec::new();
        for (i, item) in value.try_iter()?.enumerate() {
            row[depth] = i;
            let part = stacked(&item?, row)?;
            if let Some(first) = parts.first()
                && first.shape() != part.shape()
            {
                let text = |x: &Array| format!("has shape {}", ShapeText(x.shape()));
                let mut before = row.clone();
                before[depth] = 0;
                return Err(uneven("row", row, &text(&part), &before, &text(first)));
            }
            parts.push(part);
        }
        row.pop();
        if parts.is_empty() {
            return Array::from_slice::<f32>(&[], &[0]).or_raise();
        }
        return ops::try_stack(&parts, 0).or_raise();
    }
    array(value, None)
}

/// An operand beside an array.
pub(crate) enum Operand {
    Array(Array),
    Scalar(Scalar),
    /// A NumPy number, and its element type on its own. Beside an array it is as weak as a Python number.
    Typed(Scalar, Dtype),
    /// An array of NumPy or another library, in its own element type. It is as weak as a number.
    Foreign(Array),
}

impl Operand {
    /// The operand in a Python object; `None` if the object is not an operand.
    pub(crate) fn of(obj: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // The type has no subclasses, so comparing pointers is enough.
        if let Ok(array) = obj.cast_exact::<PyArray>() {
            return Ok(Some(Operand::Array(array.get().get())));
        }
        if let Some(scalar) = Scalar::of(obj)? {
            return Ok(Some(Operand::Scalar(scalar)));
        }
        if let Some((scalar, dtype)) = numpy::number(obj)? {
            return Ok(Some(Operand::Typed(scalar, dtype)));
        }
        if let Some(convert) = obj.getattr_opt(intern!(obj.py(), "__mlx_array__"))? {
            return Ok(Some(Operand::Array(array(&convert.call0()?, None)?)));
        }
        if foreign::is_array(obj) {
            return Ok(foreign::import(obj, &|have| have)?.map(Operand::Foreign));
        }
        Ok(None)
    }

    /// The array on its own.
    pub(crate) fn alone(self) -> PyResult<Array> {
        match self {
            Operand::Array(array) => Ok(array),
            Operand::Foreign(array) => array.try_astype(foreign::alone(array.dtype())).or_raise(),
            Operand::Scalar(scalar) => scalar.natural_array(),
            Operand::Typed(scalar, dtype) => Ok(scalar.array(dtype)),
        }
    }

    /// The array in a given element type, converted as C converts.
    pub(crate) fn astype(self, dtype: Dtype) -> PyResult<Array> {
        match self {
            Operand::Array(array) | Operand::Foreign(array) => array.try_astype(dtype).or_raise(),
            Operand::Scalar(scalar) | Operand::Typed(scalar, _) => Ok(scalar.array(dtype)),
        }
    }

    /// The order of all values of a type relative to this number, if it is an integer out of the type's range.
    pub(crate) fn outside(&self, dtype: Dtype) -> Option<Ordering> {
        match self {
            Operand::Scalar(scalar) | Operand::Typed(scalar, _) => scalar.outside(dtype),
            _ => None,
        }
    }

    /// The array for an operation with an array of type `dtype`.
    pub(crate) fn beside(self, dtype: Dtype) -> PyResult<Array> {
        match self {
            Operand::Array(array) => Ok(array),
            Operand::Scalar(scalar) | Operand::Typed(scalar, _) => scalar.array_beside(dtype),
            Operand::Foreign(array) => {
                let have = array.dtype();
                // The kind of the operand's type counts, its width does not.
                let to = if have.is_complex() && !dtype.is_complex() {
                    Dtype::C64
                } else if have.is_float() && !dtype.is_inexact() {
                    Dtype::F32
                } else if have.is_integer() && dtype == Dtype::Bool {
                    have
                } else {
                    dtype
                };
                array.try_astype(to).or_raise()
            }
        }
    }

    /// Whether a comparison with an array needs a special case for this operand: an array of another library, or an integer
    /// out of the range of the array's type.
    pub(crate) fn is_unlike(&self, other: &Operand) -> bool {
        match (self, other) {
            (Operand::Foreign(_), _) => true,
            (number, Operand::Array(x)) => number.outside(x.dtype()).is_some(),
            _ => false,
        }
    }

    /// The element type to which other operands adapt; `None` for a weak operand.
    pub(crate) fn strong(&self) -> Option<Dtype> {
        match self {
            Operand::Array(array) => Some(array.dtype()),
            _ => None,
        }
    }
}

/// An argument that is a number or an array of any library.
pub(crate) struct Value(pub(crate) Operand);

impl FromPyObject<'_, '_> for Value {
    type Error = PyErr;
    #[inline]
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        // Most operands are arrays of this library; this is the fast path.
        if let Ok(array) = obj.cast_exact::<PyArray>() {
            return Ok(Self(Operand::Array(array.get().get())));
        }
        Self::other(obj)
    }
}

impl Value {
    fn other(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        match Operand::of(&obj)? {
            Some(operand) => Ok(Self(operand)),
            None if obj.is_none() => {
                Err(PyTypeError::new_err("[array] expected an array or a number, not None"))
            }
            None => Err(PyValueError::new_err(format!(
                "[array] expected an array or a number, not {}; {}",
                describe(&obj),
                remedy(&obj)
            ))),
        }
    }
}

/// [`pair`] for a comparison, whose result has truth values. So integers of other libraries keep all their digits.
pub(crate) fn pair_to_compare(a: Operand, b: Operand) -> PyResult<(Array, Array)> {
    match (a, b) {
        (Operand::Array(a), Operand::Foreign(b)) if a.dtype().is_integer() && b.dtype().is_integer() => {
            Ok((a, b))
        }
        (Operand::Foreign(a), Operand::Array(b)) if a.dtype().is_integer() && b.dtype().is_integer() => {
            Ok((a, b))
        }
        (a, b) => pair(a, b),
    }
}

/// Two operands as arrays. A weak operand adapts to the type of a strong one.
#[inline]
pub(crate) fn pair(a: Operand, b: Operand) -> PyResult<(Array, Array)> {
    match (a, b) {
        (Operand::Array(a), Operand::Array(b)) => Ok((a, b)),
        (Operand::Array(a), Operand::Scalar(b)) => b.array_beside(a.dtype()).map(|b| (a, b)),
        (a, b) => any_pair(a, b),
    }
}

fn any_pair(a: Operand, b: Operand) -> PyResult<(Array, Array)> {
    match (a.strong(), b.strong()) {
        (Some(dtype), None) => Ok((a.alone()?, b.beside(dtype)?)),
        (None, Some(dtype)) => Ok((a.beside(dtype)?, b.alone()?)),
        _ => {
            // Beside a foreign array, numbers are weak too.
            match (a, b) {
                (a @ Operand::Foreign(_), b @ Operand::Scalar(_)) => {
                    let a = a.alone()?;
                    let b = b.beside(a.dtype())?;
                    Ok((a, b))
                }
                (a @ Operand::Scalar(_), b @ Operand::Foreign(_)) => {
                    let b = b.alone()?;
                    Ok((a.beside(b.dtype())?, b))
                }
                (a, b) => Ok((a.alone()?, b.alone()?)),
            }
        }
    }
}

/// An argument that must be an array of this library.
pub(crate) struct Arr(pub(crate) Array);

impl std::ops::Deref for Arr {
    type Target = Array;
    fn deref(&self) -> &Array {
        &self.0
    }
}

impl FromPyObject<'_, '_> for Arr {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(array) = obj.cast::<PyArray>() {
            return Ok(Self(array.get().get()));
        }
        if let Ok(convert) = obj.getattr("__mlx_array__") {
            return Ok(Self(array(&convert.call0()?, None)?));
        }
        Err(PyTypeError::new_err(format!(
            "expected an array, not {}; make an array of it with mx.array",
            describe(&obj.to_owned())
        )))
    }
}

/// A list or tuple of arrays.
pub(crate) struct Arrays(pub(crate) Vec<Array>);

impl FromPyObject<'_, '_> for Arrays {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if obj.is_instance_of::<PyArray>()
            || !(obj.is_instance_of::<PyList>() || obj.is_instance_of::<PyTuple>())
        {
            return Err(PyTypeError::new_err(format!(
                "expected a list or tuple of arrays, not {}",
                describe(&obj.to_owned())
            )));
        }
        let items = obj.try_iter()?.map(|item| Ok(item?.extract::<Arr>()?.0)).collect::<PyResult<_>>()?;
        Ok(Self(items))
    }
}

/// An integer, or an object with `__index__`; no floats.
fn int(obj: &Bound<'_, PyAny>) -> PyResult<isize> {
    obj.extract::<isize>()
}

/// One int or a sequence of ints.
pub(crate) struct Ints {
    pub(crate) values: SmallVec<[isize; 4]>,
    /// A bare int, not a sequence.
    pub(crate) single: bool,
}

impl FromPyObject<'_, '_> for Ints {
    type Error = PyErr;
    fn extract(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(value) = obj.cast_exact::<PyInt>() {
            return Ok(Self { values: smallvec![value.extract()?], single: true });
        }
        if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
            let mut values = SmallVec::new();
            for item in tuple.iter_borrowed() {
                let Ok(value) = item.extract::<isize>() else { return Self::any(obj) };
                values.push(value);
            }
            return Ok(Self { values, single: false });
        }
        Self::any(obj)
    }
}

impl Ints {
    /// From any objects with `__index__`. The error names an object that is not an int.
    fn any(obj: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let obj = obj.to_owned();
        let sequence = obj.is_instance_of::<PyTuple>() || obj.is_instance_of::<PyList>();
        if !sequence {
            if let Ok(value) = int(&obj) {
                return Ok(Self { values: smallvec![value], single: true });
            }
            if obj.is_instance_of::<PyArray>() || obj.try_iter().is_err() || obj.extract::<&str>().is_ok() {
                return Err(PyTypeError::new_err(format!(
                    "expected an int or a sequence of ints, not {}",
                    describe(&obj)
                )));
            }
        }
        let each = |item: Bound<'_, PyAny>| {
            int(&item).map_err(|_| {
                PyTypeError::new_err(format!("expected a sequence of ints, but it holds {}", describe(&item)))
            })
        };
        let values = obj.try_iter()?.map(|item| each(item?)).collect::<PyResult<_>>()?;
        Ok(Self { values, single: false })
    }

    /// The values as extents.
    pub(crate) fn shape(&self, op: &str) -> PyResult<Vec<usize>> {
        self.values
            .iter()
            .map(|&n| {
                usize::try_from(n).map_err(|_| {
                    PyValueError::new_err(format!("[{op}] shape {:?} has a negative extent", self.values))
                })
            })
            .collect()
    }
}

/// MLX's `stream=`: accepted without a check and ignored, because there is one device.
pub(crate) struct Stream;

impl FromPyObject<'_, '_> for Stream {
    type Error = PyErr;
    fn extract(_: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self)
    }
}
