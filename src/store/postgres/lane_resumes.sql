-- postgres: how often a person has ended a lane's pause.
select key, resumed from quarrier.lane where resumed > 0
