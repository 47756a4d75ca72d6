//! A process of the sandbox, which ends with whoever holds it.

use rustix::process::{Pid, Signal};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// A child that is killed when this is dropped, and by the kernel when the drill itself dies.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command in a process group of its own, so that a terminal's ctrl-C reaches the
    /// drill alone, which then ends its children in order.
    ///
    /// To be called by the main thread: the kernel ends a child with the thread that made it.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        command.process_group(0).stdin(Stdio::null());
        let die_with_parent = || {
            let killed = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            killed.map_err(io::Error::from)
        };
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(die_with_parent) };
        Ok(Self { child: command.spawn()? })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits until it is gone; its sockets are free then.
    pub fn kill(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
