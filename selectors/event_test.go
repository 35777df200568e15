package selectors_test

import (
	"testing"

	"goselectors/selectors"
)

func TestEventString(t *testing.T) {
	for events, want := range map[selectors.Event]string{
		0:                        "0",
		selectors.EventRead:      "Read",
		selectors.EventWrite:     "Write",
		selectors.EventPriority:  "Priority",
		selectors.EventHangup:    "Hangup",
		selectors.EventError:     "Error",
		selectors.EventInvalid:   "Invalid",
		selectors.EdgeTriggered:  "EdgeTriggered",
		selectors.OneShot:        "OneShot",
		selectors.Exclusive:      "Exclusive",
		1 << 9:                   "0x200",
		1<<9 | 1<<31:             "0x80000200",
		selectors.EventRead | 64: "Read|Invalid",
		selectors.EventRead | selectors.EventWrite | selectors.EventReadClosed | selectors.OneShot: "Read|Write|ReadClosed|OneShot",
		selectors.EventRead | selectors.EventHangup | 1<<15:                                        "Read|Hangup|0x8000",
	} {
		if got := events.String(); got != want {
			t.Errorf("Event(%#x) is %q, want %q", uint32(events), got, want)
		}
	}
}

// TestEventValues: Read and Write have the values of Python's EVENT_READ and
// EVENT_WRITE, and all bits differ.
func TestEventValues(t *testing.T) {
	if selectors.EventRead != 1 || selectors.EventWrite != 2 {
		t.Errorf("EventRead is %d and EventWrite %d, want 1 and 2", selectors.EventRead, selectors.EventWrite)
	}
	var all selectors.Event
	for _, e := range []selectors.Event{
		selectors.EventRead, selectors.EventWrite, selectors.EventPriority, selectors.EventReadClosed,
		selectors.EventHangup, selectors.EventError, selectors.EventInvalid,
		selectors.EdgeTriggered, selectors.OneShot, selectors.Exclusive,
	} {
		if e&(e-1) != 0 || e&all != 0 {
			t.Errorf("%v is %#x, which is not a separate bit", e, uint32(e))
		}
		all |= e
	}
}

func TestFeatureString(t *testing.T) {
	for features, want := range map[selectors.Feature]string{
		0:                              "0",
		selectors.FeatureEdgeTriggered: "EdgeTriggered",
		selectors.FeatureOneShot:       "OneShot",
		selectors.FeatureExclusive:     "Exclusive",
		selectors.FeaturePriority:      "Priority",
		selectors.FeatureReadClosed:    "ReadClosed",
		selectors.FeatureHangup:        "Hangup",
		selectors.FeatureInvalid:       "Invalid",
		selectors.FeatureAnyFile:       "AnyFile",
		selectors.FeatureParked:        "Parked",
		1 << 20:                        "0x100000",
		selectors.FeatureEdgeTriggered | selectors.FeaturePriority: "EdgeTriggered|Priority",
		selectors.FeatureParked | 1<<31:                            "Parked|0x80000000",
	} {
		if got := features.String(); got != want {
			t.Errorf("Feature(%#x) is %q, want %q", uint32(features), got, want)
		}
	}
}
