"""Client packages of models' own services, for several languages, out of compiled contracts; knows no mesh."""
