package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// How often the daemon is asked.
const (
	pollEvery = time.Second
	// soonest is the shortest time between two polls, however many events arrive.
	soonest = 250 * time.Millisecond
)

// retries are the waits after the first, second… attempt that failed; the last
// holds for all that follow.
var retries = []time.Duration{time.Second, time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second}

func retryAfter(tries int) time.Duration { return retries[min(tries, len(retries))-1] }

// connection is what the model knows of the daemon, and when it asks for more. It is
// part of the model and changed by Update alone; what waits is in the backend.
type connection struct {
	back    *backend
	snap    *Snapshot // what is known
	journal journal

	polling bool
	polled  time.Time // when the latest poll began
	stream  *stream   // nil while no events arrive
	deaf    struct {  // streams that failed
		tries int
		next  time.Time
	}
}

// poll asks for the status, unless a poll is under way.
func (c *connection) poll(now time.Time) tea.Cmd {
	if c.polling {
		return nil
	}
	c.polling, c.polled = true, now
	return c.back.poll()
}

// pollIfDue polls when the time for it has come.
func (c *connection) pollIfDue(now time.Time) tea.Cmd {
	next := c.polled.Add(pollEvery - beat/2) // a tick that is slightly early counts
	if o := c.snap.Outage; o != nil {
		next = o.Next
	}
	if now.Before(next) {
		return nil
	}
	return c.poll(now)
}

// answered handles the outcome of a poll. Where there is no stream of events, it
// opens one, at the pace of retries.
func (c *connection) answered(msg statusMsg) (cmd tea.Cmd) {
	c.polling = false
	if msg.err != nil {
		if c.snap.Outage == nil {
			c.snap.Outage = &Outage{Since: msg.at}
		}
		o := c.snap.Outage
		o.Tries++
		o.Err, o.Next = msg.err, msg.at.Add(retryAfter(o.Tries))
		return nil
	}
	c.snap.Status, c.snap.Received, c.snap.Outage = msg.status, msg.at, nil
	c.snap.trends.add(msg.status, msg.at)
	if c.stream == nil && !msg.at.Before(c.deaf.next) {
		c.stream, cmd = c.back.follow()
	}
	return cmd
}

// received handles what a stream of events returned, and polls soon after an event,
// since most change the status. It returns the events that were not known before.
func (c *connection) received(msg eventsMsg, now time.Time) (fresh []entry, cmd tea.Cmd) {
	if msg.from != c.stream {
		return nil, nil
	}
	fresh = c.journal.add(msg.events)
	c.snap.events = c.journal.entries
	if msg.ended {
		c.stream = nil
		c.snap.Deaf = msg.err
		c.deaf.tries++
		c.deaf.next = now.Add(retryAfter(c.deaf.tries))
		return fresh, c.poll(now)
	}
	c.deaf.tries, c.snap.Deaf = 0, nil
	cmd = c.back.fetch(msg.from)
	if len(fresh) > 0 && now.Sub(c.polled) >= soonest {
		cmd = tea.Batch(cmd, c.poll(now))
	}
	return fresh, cmd
}
