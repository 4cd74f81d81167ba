package daemon

import (
	"fmt"
	"log/slog"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// notifier informs systemd of the daemon's state. Without systemd every call does
// nothing. The loop never waits for systemd, which may be busy for seconds:
// messages are queued.
type notifier struct {
	log   *slog.Logger
	last  string
	queue chan string
}

// notifierQueue bounds the messages that wait for systemd. There are few of them;
// if the queue is full, a message is dropped, with a warning.
const notifierQueue = 64

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{log: log, queue: make(chan string, notifierQueue)}
}

// run sends the queued messages, until stopping has been sent.
func (n *notifier) run() {
	for message := range n.queue {
		if _, err := systemd.SdNotify(false, message); err != nil {
			n.log.Warn("notify systemd", "err", err)
		}
	}
}

// ready reports that the start or a reload is complete.
func (n *notifier) ready(status string) {
	n.last = status
	n.send(systemd.SdNotifyReady + "\nSTATUS=" + status)
}

// status sets the line in `systemctl status`, if it has changed.
func (n *notifier) status(line string) {
	if line != n.last {
		n.last = line
		n.send("STATUS=" + line)
	}
}

// reloading reports that a reload has begun; ready ends it.
func (n *notifier) reloading() {
	n.send(fmt.Sprintf("%s\n%s", systemd.SdNotifyReloading, systemd.SdNotifyMonotonicUsec()))
}

// stopping reports that the daemon is stopping. Nothing is sent after it.
func (n *notifier) stopping() {
	n.send(systemd.SdNotifyStopping)
	close(n.queue)
}

// alive notifies the watchdog. The loop itself calls it, so that a loop that hangs
// is noticed.
func (n *notifier) alive() { n.send(systemd.SdNotifyWatchdog) }

// watchdogEvery returns the interval at which alive must be called; 0 means never.
func watchdogEvery() time.Duration {
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil || limit <= 0 {
		return 0
	}
	return limit / 3
}

func (n *notifier) send(message string) {
	select {
	case n.queue <- message:
	default:
		n.log.Warn("notify systemd", "err", "the queue is full", "dropped", message)
	}
}
