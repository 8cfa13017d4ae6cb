//! Static values at the time when a function was traced.
//!
//! A trace depends on the values in its function's arguments that are not arrays. An object that changes keeps its
//! identity, so the values in it are recorded one by one: the items of lists, dicts and sets, the attributes of objects
//! that have no `==` of their own, the variables in a function's closure, and the object of a bound method.

use super::compare::same_static;
use crate::array::PyArray;
use covector_core::Array;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFrozenSet, PyList, PyModule, PySet, PyString, PyTuple, PyType};
use std::collections::HashSet;

/// The most values that are recorded for one argument. An argument with more values counts as changed.
const MAX_PARTS: usize = 20_000;
const MAX_DEPTH: usize = 100;

/// The record of a value.
pub(super) enum Fixed {
    /// A value that does not change, or whose type has its own `==`.
    Value(Py<PyAny>),
    /// The Rust array of an array object.
    Array(Array),
    /// An array of NumPy: its type, shape and bytes.
    Memory(Py<PyAny>),
    /// A value that was recorded before: it must be the same object.
    Known(Py<PyAny>),
    Parts(Box<Parts>),
    /// Too large to be recorded.
    Changed,
}

/// A value that consists of others.
pub(super) struct Parts {
    object: Py<PyAny>,
    kind: Kind,
    keys: Vec<Py<PyAny>>,
    values: Vec<Fixed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A container: another container with the same parts is the same.
    Container,
    /// A set, whose keys have no order.
    Set,
    /// An object with attributes: another object is not the same.
    Object,
}

/// The parts of a value at this time.
struct Now<'py> {
    kind: Kind,
    keys: Vec<Bound<'py, PyAny>>,
    values: Vec<Bound<'py, PyAny>>,
}

impl Fixed {
    /// Records a value.
    pub(super) fn new(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Memory { seen: HashSet::new(), left: MAX_PARTS }.fix(value, 0)
    }

    /// Whether the value is plain, so that a comparison is enough.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Fixed::Value(_))
    }

    /// Whether a value is the recorded one and has not changed since.
    pub(super) fn same(&self, value: &Bound<'_, PyAny>) -> bool {
        let py = value.py();
        match self {
            Fixed::Value(known) => same_static(known.bind(py), value),
            Fixed::Known(known) => known.bind(py).is(value),
            Fixed::Array(known) => {
                value.cast::<PyArray>().is_ok_and(|array| array.get().peek(|now| now.is_same(known)))
            }
            Fixed::Memory(known) => {
                memory(value).ok().flatten().is_some_and(|now| now.eq(known.bind(py)).unwrap_or(false))
            }
            Fixed::Parts(known) => known.same(value).unwrap_or(false),
            Fixed::Changed => false,
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Fixed::Value(object) | Fixed::Memory(object) | Fixed::Known(object) => visit.call(object),
            Fixed::Parts(parts) => {
                visit.call(&parts.object)?;
                parts.keys.iter().try_for_each(|key| visit.call(key))?;
                parts.values.iter().try_for_each(|value| value.traverse(visit))
            }
            Fixed::Array(_) | Fixed::Changed => Ok(()),
        }
    }
}

impl Parts {
    fn same(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = value.py();
        let object = self.object.bind(py);
        let alike = match self.kind {
            Kind::Object => object.is(value),
            Kind::Container | Kind::Set => object.get_type().is(value.get_type()),
        };
        if !alike {
            return Ok(false);
        }
        let Some(now) = Now::of(value)? else { return Ok(false) };
        if now.kind != self.kind || now.keys.len() != self.keys.len() || now.values.len() != self.values.len()
        {
            return Ok(false);
        }
        let keys = match self.kind {
            Kind::Set => {
                self.keys.iter().all(|known| now.keys.iter().any(|key| same_static(known.bind(py), key)))
            }
            _ => self.keys.iter().zip(&now.keys).all(|(known, key)| same_static(known.bind(py), key)),
        };
        Ok(keys && self.values.iter().zip(&now.values).all(|(known, value)| known.same(value)))
    }
}

struct Memory {
    seen: HashSet<usize>,
    left: usize,
}

impl Memory {
    fn fix(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> PyResult<Fixed> {
        if let Ok(array) = value.cast::<PyArray>() {
            return Ok(Fixed::Array(array.get().get()));
        }
        if let Some(memory) = memory(value)? {
            return Ok(Fixed::Memory(memory.unbind()));
        }
        let Some(now) = Now::of(value)? else { return Ok(Fixed::Value(value.clone().unbind())) };
        if !self.seen.insert(value.as_ptr() as usize) {
            return Ok(Fixed::Known(value.clone().unbind()));
        }
        let parts = now.values.len() + now.keys.len();
        if depth == MAX_DEPTH || parts > self.left {
            return Ok(Fixed::Changed);
        }
        self.left -= parts;
        let values =
            now.values.iter().map(|value| self.fix(value, depth + 1)).collect::<PyResult<Vec<_>>>()?;
        let keys = now.keys.into_iter().map(Bound::unbind).collect();
        Ok(Fixed::Parts(Box::new(Parts { object: value.clone().unbind(), kind: now.kind, keys, values })))
    }
}

impl<'py> Now<'py> {
    /// The parts of a value, or `None` for a value without parts.
    fn of(value: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let container = |keys, mut values: Vec<Bound<'py, PyAny>>| {
            // The attributes that a subclass has besides its items, such as the mode of a module.
            values.extend(own_attributes(value)?.map(Bound::into_any));
            Ok(Some(Self { kind: Kind::Container, keys, values }))
        };
        if let Ok(dict) = value.cast::<PyDict>() {
            let (keys, values) = dict.iter().unzip();
            return container(keys, values);
        }
        if let Ok(list) = value.cast::<PyList>() {
            return container(Vec::new(), list.iter().collect());
        }
        if let Ok(tuple) = value.cast::<PyTuple>() {
            return container(Vec::new(), tuple.iter().collect());
        }
        if value.is_instance_of::<PySet>() || value.is_instance_of::<PyFrozenSet>() {
            let keys = value.try_iter()?.collect::<PyResult<_>>()?;
            return Ok(Some(Self { kind: Kind::Set, keys, values: Vec::new() }));
        }
        if value.is_instance_of::<PyType>() || value.is_instance_of::<PyModule>() {
            return Ok(None);
        }
        let py = value.py();
        let get = |name: &Bound<'py, PyString>| value.getattr(name);
        let types = Types::get(py)?;
        if value.is_instance(types.function.bind(py))? {
            let mut values = vec![get(intern!(py, "__defaults__"))?, get(intern!(py, "__kwdefaults__"))?];
            if let Ok(cells) = get(intern!(py, "__closure__"))?.cast::<PyTuple>() {
                // An empty cell belongs to a variable that is not assigned yet.
                values.extend(cells.iter().filter_map(|cell| cell.getattr("cell_contents").ok()));
            }
            return Ok(Some(Self { kind: Kind::Object, keys: Vec::new(), values }));
        }
        if value.is_instance(types.method.bind(py))? {
            let values = vec![get(intern!(py, "__func__"))?, get(intern!(py, "__self__"))?];
            return Ok(Some(Self { kind: Kind::Container, keys: Vec::new(), values }));
        }
        if value.is_instance(types.partial.bind(py))? {
            let names = [intern!(py, "func"), intern!(py, "args"), intern!(py, "keywords")];
            let values = names.into_iter().map(get).collect::<PyResult<_>>()?;
            return Ok(Some(Self { kind: Kind::Object, keys: Vec::new(), values }));
        }
        let object = types.object.bind(py);
        let class = value.get_type();
        let inherits = |name: &Bound<'py, PyString>| -> PyResult<bool> {
            Ok(class.getattr(name)?.is(&object.getattr(name)?))
        };
        if !inherits(intern!(py, "__eq__"))? {
            return Ok(None);
        }
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        if let Some(own) = own_attributes(value)? {
            (keys, values) = own.iter().unzip();
        }
        for base in class.mro().iter() {
            let Some(slots) = base.getattr_opt(intern!(py, "__slots__"))? else { continue };
            let slots = if slots.is_instance_of::<PyString>() {
                vec![slots]
            } else {
                slots.try_iter()?.collect::<PyResult<_>>()?
            };
            for slot in slots {
                if let Ok(name) = slot.cast::<PyString>()
                    && let Some(held) = value.getattr_opt(name)?
                {
                    keys.push(slot);
                    values.push(held);
                }
            }
        }
        Ok((!keys.is_empty()).then_some(Self { kind: Kind::Object, keys, values }))
    }
}

/// The dict of an instance, if it has a dict that is not empty.
fn own_attributes<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    let Some(own) = value.getattr_opt(intern!(value.py(), "__dict__"))? else { return Ok(None) };
    Ok(own.cast_into::<PyDict>().ok().filter(|own| !own.is_empty()))
}

/// Type, shape and bytes of an array of NumPy.
fn memory<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let class = value.get_type();
    if !class.module().is_ok_and(|module| module == "numpy") {
        return Ok(None);
    }
    let Some(bytes) = value.getattr_opt(intern!(py, "tobytes"))? else { return Ok(None) };
    let dtype = value.getattr(intern!(py, "dtype"))?;
    if dtype.getattr(intern!(py, "hasobject"))?.is_truthy()? {
        return Ok(None);
    }
    let parts = [class.into_any(), dtype, value.getattr(intern!(py, "shape"))?, bytes.call0()?];
    Ok(Some(PyTuple::new(py, parts)?.into_any()))
}

struct Types {
    object: Py<PyAny>,
    function: Py<PyAny>,
    method: Py<PyAny>,
    partial: Py<PyAny>,
}

impl Types {
    fn get(py: Python<'_>) -> PyResult<&Types> {
        static TYPES: PyOnceLock<Types> = PyOnceLock::new();
        TYPES.get_or_try_init(py, || {
            let of = |module: &str, name: &str| Ok::<_, PyErr>(py.import(module)?.getattr(name)?.unbind());
            Ok(Types {
                object: of("builtins", "object")?,
                function: of("types", "FunctionType")?,
                method: of("types", "MethodType")?,
                partial: of("functools", "partial")?,
            })
        })
    }
}
