package eventloop

import "os"

func catchable(sig os.Signal) bool { return sig != nil && sig != os.Kill }
