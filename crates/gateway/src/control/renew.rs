//! Other outputs while the process runs: a new configuration was taken up.

use std::collections::BTreeMap;

use super::{Away, Control, Output};

impl Control {
    /// Nothing is being kept, and nothing is on a bus.
    pub fn is_quiet(&self) -> bool {
        self.keeping.is_empty() && self.writing.is_empty()
    }

    /// The outputs that may differ from their safe values.
    pub fn away(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().zip(&self.away).filter(|(_, away)| away.away).map(|(output, _)| output)
    }

    /// These take the place of the present outputs; to be called while nothing is under way. What is known of an output or
    /// of a precondition stays with its name.
    pub fn handle_outputs(&mut self, outputs: Vec<Output>) {
        let away = |output: &Output| {
            let named =
                |(old, _): &(&Output, &Away)| (&old.device, &old.point) == (&output.device, &output.point);
            self.outputs
                .iter()
                .zip(&self.away)
                .find(named)
                .map_or_else(Away::default, |(_, away)| away.clone())
        };
        self.away = outputs.iter().map(away).collect();
        let numbers = |outputs: &[Output]| -> BTreeMap<String, u32> {
            let requires = outputs.iter().flat_map(|output| &output.requires);
            requires.map(|require| (require.name.clone(), require.point)).collect()
        };
        let (old, new) = (numbers(&self.outputs), numbers(&outputs));
        let known = new.iter().filter_map(|(name, number)| {
            let (mut sample, at) = *self.samples.get(old.get(name)?)?;
            sample.point = *number;
            Some((*number, (sample, at)))
        });
        self.samples = known.collect();
        self.outputs = outputs;
    }
}
