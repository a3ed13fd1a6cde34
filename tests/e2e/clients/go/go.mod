module asks

go 1.24.0
