package selectors

import "golang.org/x/sys/windows"

var backends = windowsBackends()

// windowsBackends leaves poll out where WSAPoll does not report connects that
// failed. Microsoft's page on WSAPoll names the first version that does,
// Windows 10 2004, which is build 19041.
func windowsBackends() []Backend {
	list := []Backend{
		{"poll", pollTraits.features, func(o ...Option) (Selector, error) { return orNil(NewPollSelector(o...)) }},
		{"select", selectTraits.features, func(o ...Option) (Selector, error) { return orNil(NewSelectSelector(o...)) }},
	}
	if v := windows.RtlGetVersion(); v.MajorVersion < 10 || v.MajorVersion == 10 && v.BuildNumber < 19041 {
		return list[1:]
	}
	return list
}
