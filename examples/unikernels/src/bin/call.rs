// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the call that its command line says, and prints the answer: `NUMBER A B C D`, or
//! `NUMBER TEXT`, where the arguments are the text's address and length. With `repeat` before it,
//! makes the call until the VM ends, and prints each answer that is another than the last.
#![no_std]
#![no_main]

use hcall_guest::unikernel::{command_line, entry, println};
use hcall_guest::{hcall4, Error, HypercallNumber};

/// The longest text.
const MOST: usize = 64;

entry!(main);

fn main() {
    let (repeats, words) = match command_line().strip_prefix("repeat ") {
        Some(words) => (true, words),
        None => (false, command_line()),
    };
    let call = Call::parse(words).expect("NUMBER A B C D, or NUMBER TEXT");
    let mut last = call.make();
    last.print();
    while repeats {
        let answer = call.make();
        if answer != last {
            answer.print();
            last = answer;
        }
    }
}

/// What is to be called.
struct Call<'a> {
    number: HypercallNumber,
    arguments: [u64; 4],
    text: &'a str,
}

/// What came of it: the answer, and the text as it is now.
#[derive(PartialEq)]
struct Answer {
    result: Result<u64, Error>,
    text: [u8; MOST],
}

impl<'a> Call<'a> {
    fn parse(words: &'a str) -> Option<Self> {
        let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
        let number = number(first).and_then(|number| u32::try_from(number).ok())?;
        let number = HypercallNumber::new(number).ok()?;
        let mut arguments = [0; 4];
        let mut text = "";
        for (index, word) in rest.split_whitespace().enumerate() {
            match self::number(word) {
                Some(argument) => *arguments.get_mut(index)? = argument,
                None => text = rest,
            }
        }
        (text.len() <= MOST).then_some(Self {
            number,
            arguments,
            text,
        })
    }

    fn make(&self) -> Answer {
        let mut text = [0; MOST];
        text[..self.text.len()].copy_from_slice(self.text.as_bytes());
        let [mut a, mut b, c, d] = self.arguments;
        if !self.text.is_empty() {
            a = text.as_mut_ptr().expose_provenance() as u64;
            b = self.text.len() as u64;
        }
        let result = hcall4(self.number, a, b, c, d);
        Answer { result, text }
    }
}

impl Answer {
    fn print(&self) {
        let text = self.text.split(|byte| *byte == 0).next();
        let text = text.and_then(|text| core::str::from_utf8(text).ok());
        match (&self.result, text) {
            (Ok(answer), None | Some("")) => println!("{answer}"),
            (Ok(answer), Some(text)) => println!("{answer}, {text}"),
            (Err(error), _) => println!("{error}"),
        }
    }
}

/// A number, decimal or with 0x.
fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}
