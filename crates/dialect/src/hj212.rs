//! HJ 212: environment monitoring stations, editions 2005, 2017 and 2025. The station speaks, the gateway acknowledges.
//!
//! ```text
//! ##0087QN=…;ST=…;CN=…;PW=…;MN=…;Flag=…;[PNUM=…;PNO=…;]CP=&&a34004-Rtd=31,a34004-Flag=N&&6600\r\n
//!   └ length of the segment                                └ pairs                         └ checksum
//!
//!  bytes ─► Framer ─► segment ─► Message ─► Packets (split messages joined) ─► Report
//!                                   └─► acknowledgement
//! ```
//!
//! Fields are named as the station names them: `w01010-Rtd`, `a34004-Avg`. A data flag other than N becomes doubt.

mod calendar;
mod frame;
mod message;
mod packets;

pub use calendar::moment;
pub use frame::{Crc, Frame, FrameFault, Framer, encode};
pub use message::{Content, Message, MessageFault};
pub use packets::Packets;
