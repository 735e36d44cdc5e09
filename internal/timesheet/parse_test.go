package timesheet

import (
	"errors"
	"testing"
)

func TestParseHours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       string
		decimal  byte
		sec      Seconds
		decimals int
		err      error
	}{
		{"7.5", '.', 27000, 1, nil},
		{"7,5", ',', 27000, 1, nil},
		{"7,5", '.', 0, 0, ErrDecimalSign},
		{"7.5", ',', 0, 0, ErrDecimalSign},
		{"8", '.', 28800, 0, nil},
		{"0", '.', 0, 0, nil},
		{"0.33", '.', 1188, 2, nil},
		{"0.333333", '.', 1200, 6, nil},
		{"0.000139", '.', 1, 6, nil}, // 0.5004 s
		{"0.000138", '.', 0, 6, nil}, // 0.4968 s
		{"-1.5", '.', -5400, 1, nil},
		{"999999", '.', 999999 * 3600, 0, nil},
		{"7.9999999999999999999", '.', 0, 0, ErrTooPrecise},
		{"0.0000001", '.', 0, 0, ErrTooPrecise},
		{"", '.', 0, 0, ErrNotHours},
		{"-", '.', 0, 0, ErrNotHours},
		{".5", '.', 0, 0, ErrNotHours},
		{"5.", '.', 0, 0, ErrNotHours},
		{"+8", '.', 0, 0, ErrNotHours},
		{"--8", '.', 0, 0, ErrNotHours},
		{"8h", '.', 0, 0, ErrNotHours},
		{"NaN", '.', 0, 0, ErrNotHours},
		{"inf", '.', 0, 0, ErrNotHours},
		{"Infinity", '.', 0, 0, ErrNotHours},
		{"0x8", '.', 0, 0, ErrNotHours},
		{"0x1p-2", '.', 0, 0, ErrNotHours},
		{"1_000", '.', 0, 0, ErrNotHours},
		{"1e3", '.', 0, 0, ErrNotHours},
		{"1e999", '.', 0, 0, ErrNotHours},
		{"８", '.', 0, 0, ErrNotHours},
		{"1.234,5", ',', 0, 0, ErrNotHours},
		{"1,234.5", '.', 0, 0, ErrNotHours},
		{"8 ", '.', 0, 0, ErrNotHours},
		{"1000000", '.', 0, 0, ErrNotHours},
	} {
		sec, n, err := ParseHours(c.in, c.decimal)
		if sec != c.sec || n != c.decimals || !errors.Is(err, c.err) {
			t.Errorf("ParseHours(%q, %q): got %d, %d, %v, want %d, %d, %v", c.in, c.decimal, sec, n, err, c.sec, c.decimals, c.err)
		}
	}
}

func TestParseClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in  string
		sec Seconds
		has bool
		err error
	}{
		{"7:30", 27000, false, nil},
		{"07:30:15", 27015, true, nil},
		{"100:00:00", 360000, true, nil},
		{"-0:30", -1800, false, nil},
		{"0:00", 0, false, nil},
		{"7:60", 0, false, ErrNotClock},
		{"7:5", 0, false, ErrNotClock},
		{"7:30:60", 0, false, ErrNotClock},
		{"7:30:", 0, false, ErrNotClock},
		{":30", 0, false, ErrNotClock},
		{"12345:00", 0, false, ErrNotClock},
		{"7.30", 0, false, ErrNotClock},
		{"7:3０", 0, false, ErrNotClock},
		{"", 0, false, ErrNotClock},
	} {
		sec, has, err := ParseClock(c.in)
		if sec != c.sec || has != c.has || !errors.Is(err, c.err) {
			t.Errorf("ParseClock(%q): got %d, %t, %v, want %d, %t, %v", c.in, sec, has, err, c.sec, c.has, c.err)
		}
	}
}

func TestParseTimeOfDay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in     string
		sec    Seconds
		twelve bool
		err    error
	}{
		{"09:30", 34200, false, nil},
		{"9:30", 34200, false, nil},
		{"23:59:59", 86399, false, nil},
		{"00:00", 0, false, nil},
		{"12:00 AM", 0, true, nil},
		{"12:30 PM", 45000, true, nil},
		{"1:00pm", 46800, true, nil},
		{"10:23:52 AM", 37432, true, nil},
		{"10:23\u202fAM", 37380, true, nil},
		{"24:00", 0, false, ErrMidnight24},
		{"24:00:00", 0, false, ErrMidnight24},
		{"23:59:60", 0, false, ErrLeapSecond},
		{"25:00", 0, false, ErrNotTime},
		{"13:00 PM", 0, true, ErrNotTime},
		{"0:30 AM", 0, true, ErrNotTime},
		{"AM", 0, false, ErrNotTime},
		{"9", 0, false, ErrNotTime},
		{"9:3", 0, false, ErrNotTime},
		{"-9:30", 0, false, ErrNotTime},
		{"", 0, false, ErrNotTime},
	} {
		sec, twelve, err := ParseTimeOfDay(c.in)
		if sec != c.sec || twelve != c.twelve || !errors.Is(err, c.err) {
			t.Errorf("ParseTimeOfDay(%q): got %d, %t, %v, want %d, %t, %v", c.in, sec, twelve, err, c.sec, c.twelve, c.err)
		}
		if err == nil {
			clock := string(sec.AppendClock(nil))
			if again, _, err := ParseTimeOfDay(clock); again != sec || err != nil {
				t.Errorf("%q: got %d, %v back from %q, want %d", c.in, again, err, clock, sec)
			}
		}
	}
}

func TestParseCount(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{"0": 0, "450": 450, "-5": -5, "99999999": 99999999} {
		if got, err := ParseCount(in); got != want || err != nil {
			t.Errorf("ParseCount(%q): got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", "1.5", "+1", "1e3", "123456789", "1_0", "５"} {
		if got, err := ParseCount(in); !errors.Is(err, ErrNotCount) {
			t.Errorf("ParseCount(%q): got %d, %v, want ErrNotCount", in, got, err)
		}
	}
}

func TestDateFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec, in, want string
		err            error
	}{
		{"", "2026-11-16", "2026-11-16", nil},
		{"", "2024-02-29", "2024-02-29", nil},
		{"", "2023-02-29", "", ErrNoSuchDate},
		{"", "2026-02-30", "", ErrNoSuchDate},
		{"", "0000-00-00", "", ErrNoSuchDate},
		{"", "2026-1-1", "", ErrNotInFormat},
		{"", "2026-11-16T00:00", "", ErrNotInFormat},
		{"", "16.11.2026", "", ErrNotInFormat},
		{"", "２０２６-11-16", "", ErrNotInFormat},
		{"DD.MM.YYYY", "16.11.2026", "2026-11-16", nil},
		{"DD.MM.YYYY", "1.11.2026", "", ErrNotInFormat},
		{"D.M.YYYY", "1.2.2026", "2026-02-01", nil},
		{"D.M.YYYY", "01.02.2026", "2026-02-01", nil},
		{"MM/DD/YYYY", "11/16/2026", "2026-11-16", nil},
		{"MM/DD/YYYY", "16/11/2026", "", ErrNoSuchDate},
		{"M/D/YY", "7/27/22", "2022-07-27", nil},
		{"YYYYMMDD", "20261116", "2026-11-16", nil},
		{"YYYYMMDD", "202611160", "", ErrNotInFormat},
	} {
		var f DateFormat
		if c.spec != "" {
			var err error
			if f, err = ParseDateFormat(c.spec); err != nil {
				t.Fatal(err)
			}
		}
		day, err := f.Parse(c.in)
		if !errors.Is(err, c.err) || err == nil && day.String() != c.want {
			t.Errorf("%s: Parse(%q): got %s, %v, want %s, %v", f, c.in, day, err, c.want, c.err)
		}
	}
	for _, spec := range []string{"YYYY-MM", "DD.MM.YYYY.DD", "YYY-MM-DD", "2006-01-02", "DD.MMM.YYYY", "dd.mm.yyyy"} {
		if f, err := ParseDateFormat(spec); err == nil {
			t.Errorf("ParseDateFormat(%q): got %v, want an error", spec, f)
		}
	}
}

// Whatever the text, the parsers neither panic nor accept what they could not
// write back.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"7.5", "7,25", "-1", "7:30", "100:00:01", "9:30 PM", "2026-11-16", "16.11.2026", "NaN", "1e3", "８", "0x1"} {
		f.Add(s)
	}
	dots, err := ParseDateFormat("D.M.YYYY")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sec, n, err := ParseHours(s, '.'); err == nil {
			if n < 0 || n > 6 || sec > 999_999_999*3600 {
				t.Errorf("ParseHours(%q): got %d, %d", s, sec, n)
			}
			for _, c := range s {
				if c != '-' && c != '.' && (c < '0' || c > '9') {
					t.Errorf("ParseHours(%q) accepts %q", s, c)
				}
			}
		}
		if sec, _, err := ParseClock(s); err == nil {
			if again, _, err := ParseClock(sec.Clock()); err != nil || again != sec {
				t.Errorf("ParseClock(%q): got %d, then %d, %v from %s", s, sec, again, err, sec.Clock())
			}
		}
		if sec, _, err := ParseTimeOfDay(s); err == nil && (sec < 0 || sec >= 86400) {
			t.Errorf("ParseTimeOfDay(%q): got %d", s, sec)
		}
		if n, err := ParseCount(s); err == nil && (n > 99999999 || n < -99999999) {
			t.Errorf("ParseCount(%q): got %d", s, n)
		}
		for _, format := range []DateFormat{{}, dots} {
			if day, err := format.Parse(s); err == nil {
				if again, err := ParseDay(day.String()); err != nil || again != day {
					t.Errorf("%s: Parse(%q): got %s, then %s, %v", format, s, day, again, err)
				}
			}
		}
	})
}
