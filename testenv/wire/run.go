package wire

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"swerve/testenv/packet"
)

const (
	maxFrame = 2048 // longer than any frame of an MTU of 1500
	batch    = 64   // frames received from one side before those that are due are sent
)

// run carries frames until Close. It locks a thread: sleeping in ppoll is exact to
// some 50 µs, timers of the Go runtime to a millisecond.
func (w *Wire) run() {
	defer close(w.done)
	for ready := [2]bool{}; w.turn(ready); {
		ready = w.sleep()
	}
}

// turn receives frames from the sides that are ready and sends those that are due. It
// reports false when the wire is to close.
func (w *Wire) turn(ready [2]bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for side := range w.fds {
		if ready[side] {
			w.receive(side)
		}
	}
	for side := range w.lanes {
		w.release(side)
	}
	return !w.closing
}

// sleep waits for a frame, for the time at which one is due, or for a change, and
// reports which sides have frames.
func (w *Wire) sleep() (ready [2]bool) {
	fds := [...]unix.PollFd{
		{Fd: int32(w.fds[gatewaySide]), Events: unix.POLLIN},
		{Fd: int32(w.fds[ispSide]), Events: unix.POLLIN},
		{Fd: int32(w.waker), Events: unix.POLLIN},
	}
	if n, err := unix.Ppoll(fds[:], w.timeout(), nil); n <= 0 || err != nil {
		return ready // time is up, or EINTR
	}
	if fds[2].Revents != 0 {
		var counter [8]byte
		_, _ = unix.Read(w.waker, counter[:])
	}
	return [2]bool{fds[gatewaySide].Revents != 0, fds[ispSide].Revents != 0}
}

// timeout is how long nothing is due; nil if nothing ever is.
func (w *Wire) timeout() *unix.Timespec {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first time.Time
	for i := range w.lanes {
		if at, ok := w.lanes[i].next(); ok && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return nil
	}
	ts := unix.NsecToTimespec(int64(max(0, time.Until(first))))
	return &ts
}

// wake ends the thread's sleep. If the counter is full the thread wakes as well.
func (w *Wire) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.waker, one[:])
}

// receive receives frames from one side into its lane.
func (w *Wire) receive(side int) {
	l := &w.lanes[side]
	var control [packet.ControlLen]byte
	for range batch {
		buf := w.buffer()
		// With MSG_TRUNC n is the frame's whole length.
		n, nc, _, _, err := unix.Recvmsg(w.fds[side], buf, control[:], unix.MSG_TRUNC)
		if err != nil { // no more frames, or the link went down
			w.recycle(buf)
			return
		}
		l.count.In++
		kept := false
		switch {
		case n > maxFrame:
			l.count.Overflow++
		case side == ispSide && !w.admits(l, buf[:n]):
		default:
			kept = l.accept(buf[:n], packet.Arrival(control[:nc], time.Now()))
		}
		if !kept {
			w.recycle(buf)
		}
	}
}

// release sends the frames of a lane that are due.
func (w *Wire) release(side int) {
	l := &w.lanes[side]
	for {
		at, ok := l.next()
		now := time.Now()
		if !ok || at.After(now) {
			return
		}
		w.late = max(w.late, now.Sub(at))
		f := l.queue.pop()
		w.transmit(side, l, f.data)
		w.recycle(f.data)
	}
}

// transmit sends a frame at the side opposite to the one that it came from.
func (w *Wire) transmit(side int, l *lane, data []byte) {
	if side == gatewaySide && !w.admits(l, data) {
		return
	}
	if _, err := unix.Write(w.fds[1-side], data); err != nil {
		l.count.Unsent++
		return
	}
	l.count.Out++
}

// admits reports whether the ISP's router accepts a frame, and counts a dropped one.
func (w *Wire) admits(l *lane, data []byte) bool {
	h := parse(data)
	switch {
	case !w.filter.passes(h, w.opts.Routers):
		l.count.Filtered++
		return false
	case l == &w.lanes[gatewaySide] && !native(h, w.opts.Sources):
		w.dropForeign(l, h, data)
		return false
	}
	return true
}

// buffer returns room for a frame, recycle takes it back. There are never more than
// the lanes hold.
func (w *Wire) buffer() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b[:maxFrame]
	}
	return make([]byte, maxFrame)
}

func (w *Wire) recycle(b []byte) { w.spare = append(w.spare, b) }
