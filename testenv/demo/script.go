package main

import (
	"context"
	"fmt"
	"time"

	"swerve/control"
	"swerve/testenv/lab"
	"swerve/testenv/wait"
)

// play plays all acts.
func (s *stage) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		s.opening,
		func(ctx context.Context) error {
			return s.lose(ctx, "carrier lost", "carrier", "the plug is pulled from fiber")
		},
		func(ctx context.Context) error {
			return s.lose(ctx, "black-hole", "black-hole", "everything beyond fiber's gateway goes silent; link and gateway still work")
		},
		func(ctx context.Context) error {
			return s.lose(ctx, "60 % loss", "loss=60%", "fiber drops 60 % of all packets, each way")
		},
		s.killAndRestart,
		s.carrierWithoutDaemon,
	} {
		if err := act(ctx); err != nil {
			return fmt.Errorf("%w\nthe daemon's log:\n%s", err, s.gateway.Log())
		}
	}
	s.story.close(s.table.print)
	return nil
}

// opening starts the daemon and shows the steady state.
func (s *stage) opening(ctx context.Context) error {
	s.story.chapter("Start and steady state")
	if err := s.startDaemon(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, "fiber"); err != nil {
		return err
	}
	if err := s.freshSessions(ctx); err != nil {
		return err
	}
	onset := time.Now()
	if err := wait.Sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	return s.measure("steady state", onset)
}

// freshSessions ends the sessions of the previous act, which may use the other uplink,
// and begins new ones on the uplink that carries now.
func (s *stage) freshSessions(ctx context.Context) error {
	s.clients.stop()
	var err error
	if s.clients, err = startClients(s.lab); err != nil {
		s.clients = new(clients)
		return err
	}
	s.story.print(time.Now(), "client", "new sessions at 100 a second, a UDP and a TCP session, a TCP session that only listens, and a download, in both families")
	return wait.Sleep(ctx, time.Second)
}

func (s *stage) startDaemon(ctx context.Context) error {
	if err := s.gateway.Start(); err != nil {
		return err
	}
	s.story.print(time.Now(), "do", "swerve run, pid %d", s.gateway.Pid())
	answers := func(*control.Status) bool { return true }
	if _, err := lab.Await(ctx, s.gateway, "the daemon to answer", answers); err != nil {
		return err
	}
	go s.story.follow(ctx, s.gateway.API())
	return nil
}

// lose breaks fiber, waits until traffic has moved to lte, repairs fiber, and waits
// until traffic is back.
func (s *stage) lose(ctx context.Context, name, spec, what string) error {
	s.story.chapter(name)
	if err := s.freshSessions(ctx); err != nil {
		return err
	}
	fault, err := s.gateway.Fault(lab.Fiber, spec)
	if err != nil {
		return err
	}
	s.story.print(fault.Onset, "do", "%s", what)
	if err := s.await(ctx, "lte"); err != nil {
		return err
	}
	if err := wait.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := s.measure(name, fault.Onset); err != nil {
		return err
	}
	return s.repair(ctx, name, fault)
}

// repair undoes a fault, waits for the failback, and measures that too.
func (s *stage) repair(ctx context.Context, name string, fault *lab.Fault) error {
	repaired := time.Now()
	if err := fault.Undo(); err != nil {
		return err
	}
	s.story.print(repaired, "do", "fiber is repaired")
	if err := s.await(ctx, "fiber"); err != nil {
		return err
	}
	if err := wait.Sleep(ctx, time.Second); err != nil {
		return err
	}
	return s.measure("failback after "+name, repaired)
}

// killAndRestart kills the daemon and starts it again.
func (s *stage) killAndRestart(ctx context.Context) error {
	s.story.chapter("kill -9 and restart")
	if err := s.freshSessions(ctx); err != nil {
		return err
	}
	onset := time.Now()
	if err := s.gateway.Kill(); err != nil {
		return err
	}
	s.story.print(onset, "do", "kill -9 of the daemon")
	if err := wait.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := s.startDaemon(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, "fiber"); err != nil {
		return err
	}
	if err := wait.Sleep(ctx, 2*time.Second); err != nil {
		return err
	}
	return s.measure("kill -9, restart", onset)
}

// carrierWithoutDaemon pulls the plug while no daemon runs.
func (s *stage) carrierWithoutDaemon(ctx context.Context) error {
	s.story.chapter("carrier lost while the daemon is dead")
	if err := s.freshSessions(ctx); err != nil {
		return err
	}
	if err := s.gateway.Kill(); err != nil {
		return err
	}
	s.story.print(time.Now(), "do", "kill -9 of the daemon")
	if err := wait.Sleep(ctx, time.Second); err != nil {
		return err
	}
	fault, err := s.gateway.Fault(lab.Fiber, "carrier")
	if err != nil {
		return err
	}
	s.story.print(fault.Onset, "do", "the plug is pulled from fiber; the kernel steps down the ladder by itself")
	if err := wait.Sleep(ctx, 3*time.Second); err != nil {
		return err
	}
	return s.measure("carrier lost, no daemon", fault.Onset)
}

// measure prints what the clients measured since onset, and adds it to the table.
func (s *stage) measure(name string, onset time.Time) error {
	end := time.Now()
	effects := s.clients.effects(onset, end)
	for i, f := range effects {
		session := s.clients.sessions[i]
		if f.Unanswered > 0 || f.Interruption > 0 {
			s.story.print(end, "client", "%s %s: %s", session.family, kindName(session), f.cell())
		}
	}
	s.table.add(name, effects)
	return nil
}

func kindName(s session) string {
	for _, k := range kinds {
		if k.kind == s.kind {
			return k.name
		}
	}
	return string(s.kind)
}

// await waits until an uplink, and no other, carries both families.
func (s *stage) await(ctx context.Context, uplink string) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	_, err := lab.Await(ctx, s.gateway, uplink+" to carry both families", lab.CarriedBy(uplink))
	return err
}
