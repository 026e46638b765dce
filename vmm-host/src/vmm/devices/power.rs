// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sleep registers of a machine without fixed ACPI hardware (ACPI 6.5, 4.8.3.7): the
//! only state it can be sent to is "off".

/// The sleep control register, and after it the sleep status register.
pub(crate) const SLEEP_CONTROL_PORT: u16 = 0x600;
pub(crate) const SLEEP_STATUS_PORT: u16 = 0x601;

/// The sleep type that `\_S5`, "off", names.
pub(crate) const OFF_SLEEP_TYPE: u8 = 5;

/// What both registers read as: awake, and not woken from anything.
pub(super) const AWAKE: u8 = 0;

/// Sleep control register: bits 2 to 4 are the type, and bit 5 is the order to go there.
const TYPE_SHIFT: u8 = 2;
const TYPE_MASK: u8 = 7;
const ENABLE: u8 = 1 << 5;

/// Whether `value`, written to the sleep control register, switches the machine off.
pub(super) fn is_off(value: u8) -> bool {
    value & ENABLE != 0 && (value >> TYPE_SHIFT) & TYPE_MASK == OFF_SLEEP_TYPE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_order_to_switch_off_does_so() {
        let offs: Vec<u8> = (0..=u8::MAX).filter(|value| is_off(*value)).collect();
        let order = ENABLE | (OFF_SLEEP_TYPE << TYPE_SHIFT);
        assert!(offs.contains(&order));
        assert!(
            !is_off(OFF_SLEEP_TYPE << TYPE_SHIFT),
            "the type without the order"
        );
        assert!(!is_off(ENABLE), "the order with another type");
        // Bits 0, 1, 6 and 7 do not matter.
        assert_eq!(offs.len(), 16);
    }
}
