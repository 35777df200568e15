package park

import (
	"testing"
	"time"
)

// An environment determines how long sleeps last.
type environment struct {
	parked, blocked time.Duration
	starving        bool // a parked sleep that is checked turns out to be late
}

// run lets a policy choose n sleeps and returns how many of them blocked and how
// many were trials of parking.
func run(p *policy, env environment, now *time.Duration, n int) (blockedSleeps, parkTrials int) {
	for range n {
		m := p.choose(*now)
		length := env.parked
		if m == methodBlock {
			length = env.blocked
			blockedSleeps++
		} else if p.trial {
			parkTrials++
		}
		*now += length
		p.record(sleep{method: m, length: length, timeout: -1, starved: m == methodPark && p.trial && env.starving}, *now)
		*now += time.Microsecond // the work between two sleeps
	}
	return blockedSleeps, parkTrials
}

const µs = time.Microsecond

// TestPolicySettles: what the policy does in an environment that does not change.
func TestPolicySettles(t *testing.T) {
	const sleeps = 1000
	for _, test := range []struct {
		name                   string
		env                    environment
		minBlocked, maxBlocked int // of 1000 sleeps, after it has settled
	}{
		{"fast exchange", environment{parked: 50 * µs, blocked: 5 * µs}, 1000, 1000},
		{"short sleeps, alike", environment{parked: 20 * µs, blocked: 20 * µs}, 1000, 1000},
		{"medium sleeps, alike", environment{parked: 100 * µs, blocked: 100 * µs}, 0, 900},
		{"long sleeps, alike", environment{parked: 500 * µs, blocked: 500 * µs}, 0, 0},
		{"very long sleeps", environment{parked: 20 * time.Millisecond, blocked: 20 * time.Millisecond}, 0, 0},
		{"blocking is slower", environment{parked: 60 * µs, blocked: 600 * µs}, 0, 100},
		{"starving", environment{parked: 20 * time.Millisecond, blocked: 30 * µs, starving: true}, 1000, 1000},
		{"starving, longer sleeps", environment{parked: 30 * time.Millisecond, blocked: 500 * µs, starving: true}, 900, 999},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p policy
			var now time.Duration
			run(&p, test.env, &now, 5000)
			blocked, _ := run(&p, test.env, &now, sleeps)
			if blocked < test.minBlocked || blocked > test.maxBlocked {
				t.Errorf("%d of %d sleeps blocked, want %d to %d", blocked, sleeps, test.minBlocked, test.maxBlocked)
			}
		})
	}
}

// TestPolicyAdapts: the policy follows a change of the environment.
func TestPolicyAdapts(t *testing.T) {
	fast := environment{parked: 50 * µs, blocked: 5 * µs}
	idle := environment{parked: 10 * time.Millisecond, blocked: 10 * time.Millisecond}
	starving := environment{parked: 20 * time.Millisecond, blocked: 30 * µs, starving: true}
	for _, test := range []struct {
		name        string
		before      environment
		after       environment
		wantBlocked bool
	}{
		{"idle to fast", idle, fast, true},
		{"fast to idle", fast, idle, false},
		{"idle to starving", idle, starving, true},
		{"starving to idle", starving, idle, false},
		{"starving to fast", starving, fast, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p policy
			var now time.Duration
			run(&p, test.before, &now, 2000)
			run(&p, test.after, &now, 2000)
			blocked, _ := run(&p, test.after, &now, 100)
			if test.wantBlocked != (blocked > 50) || blocked > 5 && blocked < 95 { // up to 5 may be trials
				t.Errorf("%d of 100 sleeps blocked; want most: %t", blocked, test.wantBlocked)
			}
		})
	}
}

// TestPolicyTrialsAreRare: trials of parking in a starving environment take a
// bounded share of the time.
func TestPolicyTrialsAreRare(t *testing.T) {
	env := environment{parked: 32 * time.Millisecond, blocked: 500 * µs, starving: true}
	var p policy
	var now time.Duration
	run(&p, env, &now, 5000)
	begin := now
	_, trials := run(&p, env, &now, 20_000)
	if trials == 0 {
		t.Error("no trial of parking: it would never find out that it no longer starves")
	}
	if share := float64(time.Duration(trials)*env.parked) / float64(now-begin); share > 2./trialShare {
		t.Errorf("trials took %.3f of the time, want at most 2/%d", share, trialShare)
	}
}

// TestPolicyIgnoresOwnEnds: a sleep that our own timer or a wake ended says
// nothing about the method, so the next one parks and nothing is learned.
func TestPolicyIgnoresOwnEnds(t *testing.T) {
	var p policy
	now := time.Second
	for range 1000 {
		if m := p.choose(now); m != methodPark || p.trial {
			t.Fatalf("chose method %d, trial %t; want a plain park", m, p.trial)
		}
		now += 10 * µs
		p.record(sleep{method: methodPark, length: 10 * µs, timeout: 10 * µs, ours: true}, now)
	}
	if p.stats[methodPark].known || p.stats[methodBlock].known {
		t.Error("it has learned from sleeps that its own timer ended")
	}
	// But a timer that is noticed much too late is a sign of starvation.
	p.record(sleep{method: methodPark, length: 20 * time.Millisecond, timeout: 10 * µs, ours: true}, now)
	if !p.starving {
		t.Error("a late timer is not taken for starvation")
	}
}

// TestPolicyParkInstead: a sleep that parkInstead has changed to parking is not a
// trial.
func TestPolicyParkInstead(t *testing.T) {
	var p policy
	now := time.Second
	for p.choose(now) != methodBlock {
		now += 20 * µs
		p.record(sleep{method: methodPark, length: 20 * µs, timeout: -1}, now)
	}
	if m := p.parkInstead(); m != methodPark || p.trial {
		t.Errorf("method %d, trial %t; want park and no trial", m, p.trial)
	}
}

func TestLog2(t *testing.T) {
	for d, want := range map[time.Duration]log2{-1: 0, 0: 0, 1: 0, 2: 256, 3: 384, 1024: 2560, 1 << 30: 30 * 256} {
		if got := log2Of(d); got != want {
			t.Errorf("log2Of(%d) = %d, want %d", d, got, want)
		}
	}
	const tolerance = 2 // the logarithm is interpolated
	if ratio := log2Of(1700*µs) - log2Of(1000*µs); ratio < longer-16 || ratio > longer+16 {
		t.Errorf("1.7 times as long is %d, want about %d", ratio, longer)
	}
	if ratio := log2Of(4000*µs) - log2Of(1000*µs); ratio < muchLonger-tolerance || ratio > muchLonger+tolerance {
		t.Errorf("four times as long is %d, want %d", ratio, muchLonger)
	}
}
